"""Audits: files to items, answers recorded one by one, figures and a verdict."""
