"""Tests of whole studies: models made biased on purpose, audited, refused, corrected."""
