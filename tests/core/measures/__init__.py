"""Metrics against their published figures, statistics against simulations with a known truth."""
