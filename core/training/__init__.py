"""Training as numbers and rows: what it needs, how long it takes, what it left behind."""
