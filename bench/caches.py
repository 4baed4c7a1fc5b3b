"""Figure 8: what a cached answer costs beside one that is made, and how often texts said otherwise are found."""

import asyncio
import statistics
import time
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

# Label, one text, another; never used to choose a rule or a threshold (docs/decisions/0011).
PAIRS = Path(__file__).parent / "data" / "held_out.tsv"
SAME = {"phrasing": "the same in other phrasing", "free": "the same in other words"}
# Of near-misses, at the default threshold.
MAY_BE_WRONG = 0.02
# Of the time of an answer that is made.
MOST = 0.5
ROUNDS = 40
WARM = 3
EMBEDS = "all-MiniLM-L6-v2"
GET, MADE = "no-op GET (/health/live)", "answer that is made, no cache asked for"
EXACT, EXACT_MISS = "exact hit", "exact miss"
SEMANTIC, SEMANTIC_MISS = "semantic hit", "semantic miss"


@dataclass(frozen=True)
class Pair:
    """`label`: a key of SAME, or in what a near-miss differs. `passes`: the guard lets the two share an answer."""

    label: str
    similarity: float
    passes: bool


async def compared(client: httpx.AsyncClient) -> list[Pair]:
    """The labelled pairs with the similarity that the platform's own embeddings give them."""
    rows = [line.split("\t") for line in PAIRS.read_text().splitlines()]
    texts = [text for _, *both in rows for text in both]
    answer = await client.post("/v1/embeddings", json={"model": EMBEDS, "input": texts})
    answer.raise_for_status()
    made = iter([one["embedding"] for one in answer.json()["data"]])
    return [
        Pair(label, sum(a * b for a, b in zip(next(made), next(made), strict=True)),
             not guard.differs(one, other))
        for label, one, other in rows
    ]  # fmt: skip


async def turns(client: httpx.AsyncClient) -> dict[str, list[float]]:
    """Milliseconds of whole chat answers, one at a time, every kind once a round."""
    took: dict[str, list[float]] = {}
    for number in range(ROUNDS + WARM):
        # Letters, not digits, which a tokenizer may cut otherwise from round to round.
        word = "".join(chr(97 + int(digit)) for digit in f"{number:03d}") * 3
        began = time.perf_counter()
        (await client.get("/health/live")).raise_for_status()
        took.setdefault(GET, []).append(1000 * (time.perf_counter() - began))
        river, mill = f"How do I find the river {word}?", f"How do I find the mill {word}?"
        for name, text, mode in (
            (MADE, river, None),
            (EXACT_MISS, river, "exact"),
            (EXACT, river, "exact"),
            (SEMANTIC_MISS, mill, "semantic"),
            (SEMANTIC, f"What is the way to find the mill {word}?", "semantic"),
        ):
            # One context a round, so that a miss meets none alike and a hit the miss before it.
            took.setdefault(name, []).append(await answered_ms(client, name, text, mode, number))
    return {name: values[WARM:] for name, values in took.items()}


async def answered_ms(
    client: httpx.AsyncClient, name: str, text: str, mode: str | None, seed: int
) -> float:
    body: dict[str, Any] = {
        "model": "rill", "messages": [{"role": "user", "content": text}], "max_tokens": 40,
        "min_tokens": 40, "temperature": 0, "seed": seed,
    }  # fmt: skip
    if mode is not None:
        # As low as it goes: here it is the time that is asked for.
        body["cache"] = {"mode": mode} | ({"threshold": 0.5} if mode == "semantic" else {})
    began = time.perf_counter()
    answer = await client.post("/v1/chat/completions", json=body)
    took = 1000 * (time.perf_counter() - began)
    answer.raise_for_status()
    outcome = str(answer.headers.get("x-penstock-cache"))
    if outcome.startswith("hit") != name.endswith("hit"):
        raise RuntimeError(f"{name}: {outcome}")
    return took


async def run(rig: Rig) -> tuple[list[Pair], dict[str, list[float]]]:
    async with rig.client(await rig.key(new_id("t"))) as client:

        async def listed() -> bool:
            return EMBEDS in (await client.get("/v1/models")).text

        await eventually(listed, "the embedding model to be listed")
        return await compared(client), await turns(client)


def found(pairs: list[Pair], least: float) -> list[tuple[str, ...]]:
    """How many of each sort are at least so alike, with the guard and without."""
    near = {p.label for p in pairs} - SAME.keys()
    sorts = [(f"hits: {SAME[label]}", {label}) for label in SAME] + [
        ("**wrong hits**: near-misses", near)
    ]
    rows: list[tuple[str, ...]] = []
    for name, labels in sorts:
        mine = [p for p in pairs if p.label in labels]
        alone = [p for p in mine if p.similarity >= least]
        kept = [p for p in alone if p.passes]
        rows.append((name, f"{len(kept)} of {len(mine)} ({100 * len(kept) / len(mine):.0f} %)",
                     f"{len(alone)} of {len(mine)} by vectors alone", ""))  # fmt: skip
    return rows


def measure(rig: Rig) -> Figure:
    """`rig` has its stack started."""
    rig.env |= {
        "PENSTOCK_ENGINE": "vllm",
        "PENSTOCK_ENGINE_KV_CACHE_MB": "128",
        "PENSTOCK_EMBEDDING_ENGINE": "sentence-transformers",
        "PENSTOCK_EMBEDDING_MODEL": "auto",
        "PENSTOCK_EMBEDDING_MODEL_NAME": "",
    }
    rig.start("api", "control", "inference", "embedding")
    pairs, took = asyncio.run(run(rig))
    least = Settings(_env_file=None).cache_threshold
    middle = {name: statistics.median(values) for name, values in took.items()}
    rows = found(pairs, least) + [
        (
            name,
            f"{middle[name]:.1f} ms (p95 {quantile(values, 0.95):.1f})",
            "" if name == GET else f"{middle[name] / middle[MADE]:.2f} of an answer that is made",
            "" if name == GET else f"{middle[name] - middle[GET]:+.1f} ms",
        )
        for name, values in took.items()
    ]
    near = [p for p in pairs if p.label not in SAME]
    wrong = sum(p.passes and p.similarity >= least for p in near)
    share = middle[EXACT] / middle[MADE]
    return Figure(
        "cache",
        "8. Answers found again",
        ("", "measured", "beside", "over a no-op GET"),
        rows,
        f"an exact hit takes at most {MOST:g} of the time of an answer that is made, and at most {MAY_BE_WRONG:.0%} of "
        f"near-misses are answered; measured {share:.2f} and {wrong} of {len(near)}",
        share <= MOST and wrong <= MAY_BE_WRONG * len(near),
        [
            f"Pairs: `bench/data/held_out.tsv`, all-MiniLM-L6-v2, threshold {least:g}; a near-miss differs in a word.",
            "Written after the guard, by its author; what was changed since was found without them (decision 0011).",
            f"Times: {ROUNDS} whole chat answers of 40 tokens of each kind over HTTP, one at a time, in turns.",
            "By rill on vLLM, so small that making an answer costs least. Every answer, hits too, is a recorded job.",
            "A semantic look-up makes an ordinary embedding job: its cost, and why it pays for larger models only.",
        ],
        {"pairs": [vars(p) for p in pairs], "took": took},
    )  # fmt: skip
