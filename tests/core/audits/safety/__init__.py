"""Tests of the safety suites."""
