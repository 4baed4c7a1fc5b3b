"""Tasks of lm-eval as suites: lm-eval runs in a process of its own, makes the requests, and scores what came back."""
