"""Tests of audits as other tools read them."""
