"""The heart: what a job is, the only moves its state can make, and the verbs that make them."""
