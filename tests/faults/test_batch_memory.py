"""A batch of many lines: api and worker hold a page of it, never the whole."""

import time

import httpx
import pytest

from infra.part import Part
from tests.api.openai.batching import line
from tests.faults.invariants import REPORT
from tests.faults.test_batch_faults import begin, ended, state
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

LINES = 20_000
# MiB that a process may have more than before. The input has 5 MiB and its rows, held at once in Python
# objects, would be over 40; what is left is caches, pools and an allocator that gives little back: 12 MiB after the
# 50,000 lines that a batch may have.
BOUND = 24
CHUNK = 1000


def rss(part: Part) -> float:
    """MiB of a process and all below it."""
    return float(sum(p.memory_info().rss for p in part.family()) / 2**20)


async def test_memory_is_flat_in_the_number_of_lines(rig: Rig, client: httpx.AsyncClient) -> None:
    rows = [line(f"r{i}", f"Number {i}", max_tokens=1) for i in range(LINES)]
    # A small one first: what every batch costs once is not what lines cost.
    await ended(client, await begin(client, rows[:500]), 60)
    parts = {"api": rig.process("api"), "worker": rig.process("inference")}
    before = {name: rss(part) for name, part in parts.items()}
    most = dict(before)
    began = time.monotonic()
    batch_id = await begin(client, rows)

    async def over() -> bool:
        for name, part in parts.items():
            most[name] = max(most[name], rss(part))
        return bool((await state(client, batch_id))["status"] == "completed")

    await eventually(over, "the batch never ended", 500)
    done = await state(client, batch_id)
    assert done["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    # Read as it comes, and each line counted.
    count = 0
    path = f"/v1/files/{done['output_file_id']}/content"
    async with client.stream("GET", path) as answer:
        async for _ in answer.aiter_lines():
            count += 1
            if count % CHUNK == 0:
                most["api"] = max(most["api"], rss(parts["api"]))
    assert count == LINES
    grown = {name: most[name] - before[name] for name in parts}
    REPORT.append(
        f"batch of {LINES} lines in {time.monotonic() - began:.0f} s: "
        + ", ".join(f"{n} {before[n]:.0f} MiB + {grown[n]:.0f}" for n in parts)
    )
    assert max(grown.values()) < BOUND, grown
