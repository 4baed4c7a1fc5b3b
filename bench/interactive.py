"""Figure 7: time to first token of interactive requests, alone and beside a running batch."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import httpx

from bench.accepted import prepared
from bench.batches import submit
from bench.figure import Figure, quantile
from bench.prompts import prompts
from core.ids import new_id
from tests.rig import Rig

MOST = 1.5
# Seconds between two requests of the one client, so that the batch is found wide as well as narrow.
PAUSE_S = (0.1, 1.5)


async def first_s(client: httpx.AsyncClient, prompt: str) -> float:
    """From before the POST to the first word of the answer."""
    asked = {
        "model": "rill", "messages": [{"role": "user", "content": prompt}], "max_tokens": 16,
        "stream": True, "temperature": 0,
    }  # fmt: skip
    began, first = time.perf_counter(), 0.0
    async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        async for line in answer.aiter_lines():
            if not first and '"content":"' in line and '"content":""' not in line:
                first = time.perf_counter() - began
    assert first, "no word came"
    return first


async def turn(client: httpx.AsyncClient, asked: list[str], rng: random.Random) -> list[float]:
    took = []
    for prompt in asked:
        took.append(await first_s(client, prompt))
        await asyncio.sleep(rng.uniform(*PAUSE_S))
    return took


async def run(rig: Rig, key: str, rounds: int, each: int) -> dict[str, Any]:
    alone: list[float] = []
    beside: list[float] = []
    lines = 0
    rng = random.Random(7)
    async with rig.client(key) as client:
        await turn(client, prompts(5, "warm "), rng)
        for number in range(rounds):
            alone += await turn(client, prompts(each, f"a{number} "), rng)
            batch = await submit(client, prompts(20_000, f"b{number} "), 64)
            await reached(client, batch, lambda now: now["request_counts"]["completed"] >= 64)
            beside += await turn(client, prompts(each, f"c{number} "), rng)
            now = await state(client, batch)
            assert now["status"] == "in_progress", "the batch ended before the requests did"
            lines += now["request_counts"]["completed"]
            await client.post(f"/v1/batches/{batch}/cancel")
            await reached(client, batch, lambda now: now["status"] == "cancelled")
    return {"alone": alone, "beside": beside, "lines": lines}


async def state(client: httpx.AsyncClient, batch: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/batches/{batch}")).json()
    return found


async def reached(
    client: httpx.AsyncClient, batch: str, wanted: Callable[[dict[str, Any]], bool]
) -> None:
    # The API has no event to await here but the stream, which would be load of its own.
    while not wanted(await state(client, batch)):  # noqa: ASYNC110 - see the line above
        await asyncio.sleep(0.2)


def measure(rig: Rig, *, rounds: int = 2, each: int = 60) -> Figure:
    """`rig` has its stack started."""
    rig.env |= {
        "PENSTOCK_ENGINE": "vllm",
        "PENSTOCK_ENGINE_MAX_SEQUENCES": "64",
        "PENSTOCK_ENGINE_DTYPE": "float32",
        "PENSTOCK_ENGINE_KV_CACHE_MB": "512",
    }
    rig.start("api", "control", "inference")
    _, key = asyncio.run(prepared(rig, new_id("t")))
    raw = asyncio.run(run(rig, key, rounds, each))
    alone, beside = raw["alone"], raw["beside"]
    rows = [
        (name, *(f"{quantile(x, q) * 1000:.0f}" for q in (0.5, 0.95)))
        for name, x in (("alone", alone), ("beside a batch", beside))
    ]
    times = [quantile(beside, q) / quantile(alone, q) for q in (0.5, 0.95)]
    rows.append(("**ratio**", *(f"{t:.2f}" for t in times)))
    return Figure(
        "interactive",
        "7. Time to first token beside a batch, in milliseconds",
        ("", "p50", "p95"),
        rows,
        f"p95 at most {MOST:g} times its value alone; measured {times[1]:.2f}",
        times[1] <= MOST,
        [(f"{rounds} rounds of {each} streamed chats alone and {each} beside a batch of 20,000 lines, with pauses of "
          f"{PAUSE_S[0]:g} to {PAUSE_S[1]:g} s; greedy, float32, rill, 64 sequences."),
         f"The batch went on meanwhile: {raw['lines']:,} lines finished while the requests ran."],
        raw,
    )  # fmt: skip
