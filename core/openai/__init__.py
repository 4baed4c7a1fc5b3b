"""What OpenAI's text surface takes and gives, without HTTP: a body becomes a spec, a result becomes an answer."""
