"""Webhooks out: the feeder rings, the handler sends, the client dials only checked addresses."""
