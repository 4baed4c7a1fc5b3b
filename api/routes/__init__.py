"""One module a surface; each asks for what it needs through api.deps and calls one verb of core."""
