"""OpenAI's own client, pointed at the rig."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tests.rig import Rig


@pytest.fixture
async def ai(rig: Rig, key: str) -> AsyncIterator[AsyncOpenAI]:
    """As users make it: base_url and key changed, nothing else."""
    # trust_env: a proxy of the machine is none of a local server's business.
    async with AsyncOpenAI(
        base_url=f"{rig.base_url}/v1",
        api_key=key,
        http_client=DefaultAsyncHttpxClient(trust_env=False, timeout=60),
    ) as client:
        yield client


@pytest.fixture(scope="session")
def engine_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A rig on the real engine, in float32, for all tests here that need one."""
    env = {"PENSTOCK_ENGINE": "vllm", "PENSTOCK_ENGINE_KV_CACHE_MB": "128"}
    made = Rig(Path(tmp_path_factory.mktemp("openai-vllm")), env)
    try:
        made.start_stack()
        made.start("api", "control", "inference")
        yield made
    finally:
        made.end()
