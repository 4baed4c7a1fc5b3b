"""The suites: each reads its published files, asks, scores, and knows what known responders score."""
