"""Tests of the guard itself: rules, folding, hold-back, gaps."""
