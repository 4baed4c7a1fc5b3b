"""How Penstock is started: the embedded stack, the supervisor, the command line, the containers."""
