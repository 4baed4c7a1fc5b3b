"""The process that trains: a plan in, events and checkpoints out; torch and its libraries live here."""
