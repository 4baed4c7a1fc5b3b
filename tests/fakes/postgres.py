"""One embedded, migrated Postgres for a whole run of the tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.config import Settings
from core.db.session import Database
from infra.local import embedded
from tests.rig import migrate


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("postgres")
    stack = embedded(folder, names=["postgres"])
    stack.start()
    url = stack.env()["DATABASE_URL"]
    migrate(url)
    yield url
    stack.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database(Settings(_env_file=None, database_url=postgres_url), name="test", pool=16)
    yield opened
    await opened.close()
