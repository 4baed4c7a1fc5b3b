"""Rill, the small language model that ships with Penstock, and how it was made; torch lives here."""
