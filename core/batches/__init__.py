"""Batches: many requests from one file, answered by ordinary jobs that each carry a step of it."""
