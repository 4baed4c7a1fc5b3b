"""The OpenAI-compatible surface, driven by the clients that people have."""
