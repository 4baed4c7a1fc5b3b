"""Dataset jobs: sources in, a checked version of a dataset out."""
