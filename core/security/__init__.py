"""Who is asking: tenants, their keys, and what a caller is."""
