"""A tenant's files: their rows and rules, and uploads that put large ones together from parts."""
