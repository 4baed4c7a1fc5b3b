"""What the API tests share."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI

from core.storage.folder import WRITING
from core.storage.place import storage_of
from core.storage.seam import Storage
from infra.part import Part
from tests.fakes.postgres import database, postgres_url
from tests.fakes.s3 import S3Server, s3
from tests.rig import Rig, running

__all__ = ["database", "postgres_url", "s3"]


@dataclass
class Served:
    """An API process and the store behind it."""

    rig: Rig
    part: Part
    base_url: str
    storage: Storage
    unfinished: Callable[[], list[Path]]
    """Files of writes that have not ended."""

    def client(self, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.base_url,
            headers={"authorization": f"Bearer {key}"},
            timeout=120,
            trust_env=False,
        )

    async def keys(self) -> set[str]:
        """All that is in the store."""
        return {f.key for p in ("files", "parts") async for f in self.storage.listed(p)}


@pytest.fixture(scope="session")
def on_s3(rig: Rig, s3: S3Server) -> Iterator[Served]:
    """A second API process, which keeps files on an S3 server."""
    part = rig.process("api", 2)
    part.env |= s3.env("api")
    part.start(120)
    url = f"http://127.0.0.1:{rig.ports['api2']}"
    yield Served(rig, part, url, storage_of(s3.settings("api")), s3.unfinished)
    part.end()


@pytest.fixture(scope="session")
def workerless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A model whose worker is gone, and an API that waits for it a moment only, has few seats for streams, gives signs
    of life often and makes nothing of retries."""
    env = {
        "PENSTOCK_GENERATE_TIMEOUT_S": "0.3",
        "PENSTOCK_RETRY_WINDOW_S": "0",
        "PENSTOCK_SSE_KEEPALIVE_S": "0.1",
        "PENSTOCK_SSE_MAX_CONNECTIONS": "4",
        "PENSTOCK_SSE_MAX_CONNECTIONS_PER_TENANT": "3",
    }
    with running(tmp_path_factory.mktemp("workerless"), env, "api", "control", "inference") as made:
        made.parts["inference"].kill()
        yield made


@pytest.fixture(params=["folder", "s3"])
def served(request: pytest.FixtureRequest, rig: Rig) -> Served:
    if request.param == "folder":
        writing = rig.folder / "files" / WRITING
        return Served(
            rig, rig.parts["api"], rig.base_url, storage_of(rig.settings()),
            lambda: list(writing.glob("*")),
        )  # fmt: skip
    found: Served = request.getfixturevalue("on_s3")
    return found


@pytest.fixture
async def ai(served: Served, key: str) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client."""
    url = f"{served.base_url}/v1"
    async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
async def http(served: Served, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may send what OpenAI's would not."""
    async with served.client(key) as client:
        yield client
