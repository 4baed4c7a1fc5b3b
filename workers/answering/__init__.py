"""One spec answered by the engine: whoever asked for it, a job of its own or a line of a batch."""
