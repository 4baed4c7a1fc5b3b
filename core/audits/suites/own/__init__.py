"""Suites that are not ours: of an uploaded file, of lm-eval's tasks, and results that other tools have written."""
