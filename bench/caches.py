"""The caches: how often a text said otherwise is found, how often a near-miss is, and what a look-up costs."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.figure import Figure, quantile
from core.config import Settings
from core.ids import new_id
from core.jobs import guard
from tests.rig import Rig
from tests.waiting import eventually

PAIRS = Path(__file__).parent / "data" / "alike.tsv"
THRESHOLDS = (0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.99)
NEAR = ("number", "negation", "name")
# Of near-misses, at the default threshold.
MAY_BE_WRONG = 0.02
ROUNDS = 30
REAL = {
    "PENSTOCK_EMBEDDING_ENGINE": "sentence-transformers",
    "PENSTOCK_EMBEDDING_MODEL": "auto",
    "PENSTOCK_EMBEDDING_MODEL_NAME": "",
}
EMBEDS = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Pair:
    """`label`: same, or in what a near-miss differs. `guarded`: the guard keeps the two apart."""

    label: str
    similarity: float
    guarded: bool


async def compared(client: httpx.AsyncClient) -> list[Pair]:
    """The labelled pairs with the similarity that the platform's own embeddings give them."""
    rows = [line.split("\t") for line in PAIRS.read_text().splitlines()]
    texts = [text for _, *both in rows for text in both]
    answer = await client.post("/v1/embeddings", json={"model": EMBEDS, "input": texts})
    answer.raise_for_status()
    made = iter([one["embedding"] for one in answer.json()["data"]])
    return [
        Pair(label, sum(a * b for a, b in zip(next(made), next(made), strict=True)), guard.differs(one, other))
        for label, one, other in rows
    ]  # fmt: skip


def _share(found: int, of: int) -> str:
    return f"{found} of {of} ({100 * found / of:.0f} %)"


def measure(rig: Rig) -> Figure:
    """Hits and wrong hits on the labelled pairs, at each threshold, with and without the guard."""
    rig.env |= REAL
    rig.start("api", "control", "embedding")
    pairs = asyncio.run(_with_client(rig, compared))
    same = [p for p in pairs if p.label == "same"]
    near = [p for p in pairs if p.label in NEAR]
    default = Settings(_env_file=None).cache_threshold
    rows, wrong_at_default = [], 0
    for least in THRESHOLDS:
        right, wrong = ([p for p in of if p.similarity >= least] for of in (same, near))
        passed, slipped = ([p for p in of if not p.guarded] for of in (right, wrong))
        if least == default:
            wrong_at_default = len(slipped)
        rows.append(
            (f"**{least}**" if least == default else f"{least}",
             _share(len(right), len(same)), _share(len(wrong), len(near)),
             _share(len(passed), len(same)), _share(len(slipped), len(near)))
        )  # fmt: skip
    return Figure(
        "caches",
        "Semantic cache: hits and wrong hits",
        ("threshold", "hits, vectors alone", "wrong hits, vectors alone", "hits", "wrong hits"),
        rows,
        f"at most {MAY_BE_WRONG:.0%} of the near-misses are answered at the default threshold of {default}; "
        f"measured {wrong_at_default} of {len(near)}",
        wrong_at_default <= MAY_BE_WRONG * len(near),
        [
            f"{len(same)} pairs that ask the same in other words, and {len(near)} that differ in a number, "
            "a negation or a name (`bench/data/alike.tsv`, written for this). A hit answers the second text of a "
            "pair with the first one's answer.",
            "The last two columns are what the cache does: vectors (all-MiniLM-L6-v2) and the guard "
            "(`core/jobs/guard.py`). The guard's rules were written after looking at these pairs, so on texts of another "
            "kind it will let more slip.",
        ],
        {"pairs": [vars(p) for p in pairs]},
    )  # fmt: skip


def latency(rig: Rig) -> Figure:
    """Whole chat answers over HTTP, one at a time, in turns: run, missed, found."""
    rig.env |= REAL | {"PENSTOCK_ENGINE": "vllm", "PENSTOCK_ENGINE_KV_CACHE_MB": "128"}
    rig.start("api", "control", "inference", "embedding")
    took = asyncio.run(_with_client(rig, _turns))
    middle = {name: statistics.median(values) for name, values in took.items()}
    base = middle["run, no cache asked for"]
    rows = [
        (
            name,
            f"{middle[name]:.1f}",
            f"{quantile(values, 0.95):.1f}",
            f"{middle[name] - base:+.1f}",
        )
        for name, values in took.items()
    ]
    hit = middle["exact hit"]
    return Figure(
        "cached",
        "Caches: what a look-up costs and saves",
        ("POST /v1/chat/completions", "p50 ms", "p95 ms", "against no cache, ms"),
        rows,
        f"an exact hit takes at most half of the time that running takes; measured {hit:.0f} of {base:.0f} ms",
        hit <= base / 2,
        [
            f"{ROUNDS} answers of 40 tokens of each kind, one at a time, in turns, by the shipped rill on vLLM: a "
            "model so small that running costs least. Every answer, hits included, is a recorded job with its facts.",
            "A semantic look-up makes an ordinary embedding job first, which is what it costs when it misses.",
        ],
        {"took": took},
    )


async def _turns(client: httpx.AsyncClient) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}

    async def ask(name: str, text: str, mode: str | None, **more: Any) -> None:
        body: dict[str, Any] = {
            "model": "rill", "messages": [{"role": "user", "content": text}], "max_tokens": 40,
            "min_tokens": 40, "temperature": 0, **more,
        }  # fmt: skip
        if mode is not None:
            # As low as it goes: here it is the time that is asked for, not whether the hit is right.
            body["cache"] = {"mode": mode} | ({"threshold": 0.5} if mode == "semantic" else {})
        began = time.perf_counter()
        answer = await client.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        outcome = answer.headers.get("x-penstock-cache")
        expected = "hit-" in str(outcome)
        if expected != ("hit" in name):
            raise RuntimeError(f"{name}: {outcome}")
        took.setdefault(name, []).append(1000 * (time.perf_counter() - began))

    for number in range(ROUNDS + 2):
        # Letters, not digits: the guard would keep numbers apart.
        word = "".join(chr(97 + int(digit)) for digit in f"{number:03d}") * 3
        await ask("run, no cache asked for", f"Tell me of the river {word}.", None)
        await ask("exact miss", f"Tell me of the river {word}.", "exact")
        await ask("exact hit", f"Tell me of the river {word}.", "exact")
        # One context a round, so that a miss meets an empty one and a hit the miss before it.
        seed = {"seed": number}
        await ask("semantic miss", f"Tell me of the mill {word}.", "semantic", **seed)
        await ask("semantic hit", f"Do tell me of the mill {word}.", "semantic", **seed)
    return {name: values[2:] for name, values in took.items()}


async def _with_client(rig: Rig, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async with rig.client(await rig.key(new_id("t"))) as client:

        async def listed() -> bool:
            return EMBEDS in (await client.get("/v1/models")).text

        await eventually(listed, "the embedding model to be listed")
        return await work(client)
