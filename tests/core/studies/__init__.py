"""Tests of corrections and explanations."""
