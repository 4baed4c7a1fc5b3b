"""The rig that fault tests share: short leases, healed before each test, and the counts of each."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults import load as loads
from tests.faults.invariants import REPORT
from tests.faults.load import Load
from tests.rig import Rig

# Seconds. Everything that waits for a lease, a stall or a lost doorbell waits so long in these tests.
LEASE_S = 3
ENV = {
    "PENSTOCK_INFERENCE_LEASE_S": str(LEASE_S),
    "PENSTOCK_INFERENCE_HEARTBEAT_S": "1",
    "PENSTOCK_RING_AGAIN_S": "3",
    "PENSTOCK_STALL_S": "2",
    "PENSTOCK_DRAIN_S": "2",
    "PENSTOCK_MAX_ATTEMPTS": "20",
    "PENSTOCK_RETRY_BACKOFF_S": "0.2",
    "PENSTOCK_ENGINE_MAX_SEQUENCES": "16",
    "PENSTOCK_SCRIPTED_TOKEN_S": "0.01",
    # A killed member of a consumer group is missed after so long.
    "PENSTOCK_KAFKA_SESSION_TIMEOUT_S": "6",
}
OURS = ("api", "control", "inference")


@pytest.fixture(scope="package")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("faults"), dict(ENV))
    try:
        made.start_stack()
        made.start(*OURS)
        yield made
    finally:
        made.end()


@pytest.fixture
async def rig(shared_rig: Rig) -> AsyncIterator[Rig]:
    """The shared rig with everything running, whatever the test before did to it."""
    await asyncio.to_thread(heal, shared_rig)
    yield shared_rig
    for name, part in shared_rig.parts.items():
        if name not in OURS:
            part.kill()


def heal(rig: Rig) -> None:
    """Continue what is stopped and start what is gone: the stack first, then our processes."""
    parts = [*rig.stack.parts.values(), *(rig.process(name) for name in OURS)]
    for part in parts:
        part.cont()
        if part.exited() is not None:
            part.spawn()
        if part.name in rig.stack.parts:
            part.await_ready()
    for part in parts:
        part.await_ready()


@pytest.fixture
async def load(rig: Rig, request: pytest.FixtureRequest) -> AsyncIterator[Load]:
    """An empty load named like the test; its seed is printed."""
    made = loads.begin(request.node.name.removeprefix("test_"), rig.settings())
    yield made
    await loads.give_up(made.following)


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test counted goes with its report to the process that prints them (tests/conftest.py)."""
    yield
    request.node.user_properties += [("counts", line) for line in REPORT]
    REPORT.clear()
