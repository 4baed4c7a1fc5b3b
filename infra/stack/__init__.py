"""The embedded Postgres, Redis and Kafka broker, each a real server from a pip package."""
