"""OpenAI's own client, pointed at the rig; and a rig whose processes may be killed."""

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tests.rig import Rig, running


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
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A rig whose parts may be killed, with short leases. Who kills one starts it again."""
    env = {
        "PENSTOCK_SCRIPTED_TOKEN_S": "0.005",
        "PENSTOCK_INFERENCE_LEASE_S": "4",
        "PENSTOCK_INFERENCE_HEARTBEAT_S": "1",
        "PENSTOCK_RING_AGAIN_S": "2",
    }
    with running(tmp_path_factory.mktemp("fragile"), env, "api", "control", "inference") as made:
        yield made
