"""Postgres: the declarative base and the one place that commits."""
