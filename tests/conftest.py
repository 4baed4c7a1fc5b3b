"""One embedded stack and one of each of our processes for the whole session; a new tenant for each test.

Where several processes share the tests (pytest -n), each has a stack of its own, and this page says who runs what.
Those marked `fault` kill and count the seconds after: one process runs them by itself (Makefile).
"""

import re
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from xdist.scheduler import LoadScopeScheduling

from core.db.session import Database
from core.events.log import EventLog, connect
from core.ids import new_id
from tests.rig import ROOT, Rig, running

# What only one process of the test run makes: a real engine is long to load and has two gigabytes.
ALONE = re.compile(r"\b(engine_rig|engine|workerless): (?:Rig|Engine)\b")
# Folders whose tests wait for processes come first, those that only compute fill the gaps at the end.
ORDER = ("studies", "examples", "faults", "workers", "api", "infra", "core")


@cache
def _shared(file: str) -> str:
    """What a file of tests shares with others so that one process must run them all; else the file itself."""
    found = ALONE.search((ROOT / file).read_text())
    return found[1] if found else file


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """A file's tests stay together, so its fixtures are made once; so do all tests of one real engine. (xdist's own
    groups are marks, which it writes where pytest 9.2 no longer reads them.)"""

    def _split_scope(self, nodeid: str) -> str:
        return _shared(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is long comes first where processes share the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, int]:
    file = item.path.relative_to(ROOT)
    alone = _shared(str(file)) != str(file)
    return not alone, ORDER.index(file.parts[1]) if file.parts[1] in ORDER else len(ORDER)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of every fault test that ran, passed ones too (tests/faults/conftest.py)."""
    ran = [report for some in terminalreporter.stats.values() for report in some]
    lines = [
        line for report in ran if getattr(report, "when", "") == "teardown"
        for name, line in report.user_properties if name == "counts"
    ]  # fmt: skip
    if lines:
        terminalreporter.section("fault tests")
        for line in lines:
            terminalreporter.write_line(str(line))


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


@pytest.fixture(scope="session")
def engine_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Every process that trains and answers, on the real engine, in float32, and the real trainer. Tests that kill
    something make their own."""
    env = {
        "PENSTOCK_ENGINE": "vllm",
        "PENSTOCK_ENGINE_KV_CACHE_MB": "128",
        "PENSTOCK_ENGINE_MAX_SEQUENCES": "32",
        "PENSTOCK_TRAINER": "workers.trainer",
    }
    with running(
        tmp_path_factory.mktemp("engine"), env, "api", "control", "inference", "finetune"
    ) as made:
        yield made


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
