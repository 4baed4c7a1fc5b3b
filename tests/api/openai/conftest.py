"""OpenAI's own client, pointed at the rig."""

from collections.abc import AsyncIterator

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
