"""What the core tests share."""

from tests.fakes.postgres import database, postgres_url
from tests.fakes.s3 import s3

__all__ = ["database", "postgres_url", "s3"]
