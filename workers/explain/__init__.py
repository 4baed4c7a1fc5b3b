"""Explanations: the edits of a prompt asked of the engine, and what their scores say."""
