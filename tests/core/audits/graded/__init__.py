"""The suite of graded answers."""
