"""OpenAI's surface: other shapes for the same jobs and files."""
