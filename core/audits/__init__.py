"""Audits: suites that ask a model and score its answers, and what is made of that."""
