"""Inference: prompt in, text out, continued from what earlier attempts already said."""
