"""What the worker tests share: Postgres, a receiver, a tenant and a webhook worker's runtime."""

from collections.abc import AsyncIterator

import pytest

from core.db.session import Database
from core.security.keys import Caller
from tests.fakes import webhooks as given
from tests.fakes.postgres import database, postgres_url
from tests.fakes.receiver import Receiver, receiver
from tests.fakes.s3 import s3
from tests.workers.real_engine import engine
from workers.webhooks.handler import Runtime

__all__ = ["database", "engine", "postgres_url", "s3"]


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as running:
        yield running


@pytest.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    made = given.runtime(database)
    yield made
    await made.http.aclose()


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await given.tenant(database)
