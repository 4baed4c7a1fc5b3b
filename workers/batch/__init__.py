"""The steps of a batch: validate its input, answer a shard of its lines, finish with its files."""
