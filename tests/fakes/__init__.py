"""Fakes at our own seams, written by hand."""
