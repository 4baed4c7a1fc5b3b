"""What was answered before: bytes kept by tenant and key, in this process and in Redis, within a bound."""
