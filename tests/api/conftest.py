"""What the API tests share."""

from tests.fakes.postgres import database, postgres_url

__all__ = ["database", "postgres_url"]
