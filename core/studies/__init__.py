"""Studies made of an audit: why a model decided so, and a fine-tune that corrects it."""
