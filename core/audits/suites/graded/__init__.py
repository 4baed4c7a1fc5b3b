"""Questions from a template over the lines of a file, their answers graded by rules: what OpenAI's evals do."""
