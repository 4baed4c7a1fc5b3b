"""Real processes killed, stopped and starved; every accepted job must come out right."""
