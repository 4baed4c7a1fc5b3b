"""Tests of suites that users bring, of lm-eval's tasks, and of results of other tools."""
