"""One embedded stack and one of each of our processes for the whole session; a new tenant for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from core.db.session import Database
from core.events.log import EventLog, connect
from core.ids import new_id
from tests.rig import Rig


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Every process of Penstock on a scripted engine. Tests that kill something make their own."""
    made = Rig(
        Path(tmp_path_factory.mktemp("rig")),
        {"PENSTOCK_SCRIPTED_TOKEN_S": "0.002", "PENSTOCK_CHAT_MAX_TOKENS": "64"},
    )
    try:
        made.start_stack()
        made.start("api", "control", "inference", "webhooks")
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def embedder(rig: Rig) -> Rig:
    """The rig with a worker for embeddings, for as long as the session lasts."""
    if "embedding" not in rig.parts:
        rig.start("embedding")
    return rig


@pytest.fixture(scope="session")
def trainer(rig: Rig) -> Rig:
    """The rig with a worker that trains, by a scripted trainer, for as long as the session lasts."""
    if "finetune" not in rig.parts:
        rig.start("finetune")
    return rig


@pytest.fixture
async def key(rig: Rig) -> str:
    """The API key of a tenant that nothing else uses."""
    return await rig.key(new_id("t"))


@pytest.fixture
async def client(rig: Rig, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(key) as opened:
        yield opened


@pytest.fixture
async def db(rig: Rig) -> AsyncIterator[Database]:
    """The database behind `rig`, to look behind the API."""
    opened = Database(rig.settings(), name="test", pool=4)
    yield opened
    await opened.close()


@pytest.fixture
async def log(rig: Rig) -> AsyncIterator[EventLog]:
    config = rig.settings()
    redis = connect(config)
    yield EventLog(redis, config)
    await redis.aclose()
