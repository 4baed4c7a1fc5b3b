"""The gate: policies as data, evidence bound to digests, and the one question of what may be promoted."""
