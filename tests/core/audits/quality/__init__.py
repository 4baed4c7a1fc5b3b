"""Tests of the quality suites."""
