"""Bias: published benchmarks read from their published files, and small packs of our own in the same formats."""
