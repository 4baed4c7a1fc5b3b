"""Penstock's tests: behaviour on the real Postgres, Redis, Kafka protocol, Celery and vLLM."""
