"""The ledger: what was set aside for a job or a batch, what it took in the end, and what that costs."""
