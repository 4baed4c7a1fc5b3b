"""The figures: each a ratio or an overhead against a peer or a limit, measured in one run on one machine."""
