"""Figure 14: an audit of 1,000 questions through the platform, beside lm-eval on the same weights and machine."""

import asyncio
import json
import os
import random
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.engine import Peer
from bench.figure import Figure, ratio, spread
from bench.prompts import OBJECTS, VERBS, prompts
from core.config import MODEL_FOLDER
from core.ids import new_id
from tests.rig import Rig

ITEMS, CHOICES = 1000, 4
SHOTS = (0, 5)
AT_LEAST = 1.0
# Log likelihoods of one choice by two engines in float32: rounding, summed over its tokens.
SAME = 1e-3
OFFLINE = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
TOOK = """SELECT extract(epoch FROM finished_at - created_at)::float8, state FROM jobs
          WHERE id = %s AND finished_at IS NOT NULL"""
NUMBERS = """SELECT answer -> 'likelihoods' FROM audit_answers WHERE job_id = %s AND subject = 'model'
             ORDER BY number"""


def questions(mark: str, shots: int = 0) -> str:
    """JSONL: {"question", "choices", "answer"}; the same words for both sides.

    `shots`: the questions, with their answers, that stand before each; five is what lm-eval's users mostly give.
    """
    draw = random.Random(mark)
    rows: list[dict[str, Any]] = []
    for prompt in prompts(ITEMS, mark):
        choices = [f" {draw.choice(VERBS)} {thing}" for thing in draw.sample(OBJECTS, CHOICES)]
        rows.append({"question": prompt, "choices": choices, "answer": draw.randrange(CHOICES)})
    solved = [row["question"] + row["choices"][row["answer"]] for row in rows]
    for number, row in enumerate(rows):
        # Of an item that is none of them: the ones before it, around the end.
        before = [solved[number - back] for back in range(shots, 0, -1)]
        row["question"] = "\n".join([*before, row["question"]])
    return "\n".join(json.dumps(row) for row in rows) + "\n"


async def through(rig: Rig, key: str, text: str) -> dict[str, Any]:
    """From POST /v1/audits to the commit that ends the job: controls, probe, answers, intervals and verdict."""
    async with (
        rig.client(key) as client,
        await psycopg.AsyncConnection.connect(
            rig.stack.env()["DATABASE_URL"], autocommit=True
        ) as truth,
    ):
        files = {"file": ("questions.jsonl", text.encode())}
        file = await client.post("/v1/files", files=files, data={"purpose": "evals"})
        wish = {
            "suites": [{"suite": "accuracy", "file": file.raise_for_status().json()["id"]}],
            "policy": "none", "baseline": None,
        }  # fmt: skip
        made = await client.post("/v1/audits", json=wish)
        job = made.raise_for_status().json()["id"]
        # Asked of Postgres, which costs little; a reader of the stream would be load of its own.
        while (row := await (await truth.execute(TOOK, (job,))).fetchone()) is None:  # noqa: ASYNC110 - see the line above
            await asyncio.sleep(0.1)
        assert row[1] == "succeeded", f"the audit ended as {row[1]}"
        rows = await (await truth.execute(NUMBERS, (job,))).fetchall()
    return {"seconds": row[0], "numbers": [[one[0] for one in found] for (found,) in rows]}


def chosen(numbers: list[list[float]]) -> list[int]:
    return [max(range(len(one)), key=one.__getitem__) for one in numbers]


def apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest difference of a log likelihood, nats."""
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for x, y in pairs for a, b in zip(x, y, strict=True))


def measure(rig: Rig, *, rounds: int = 3) -> Figure:
    """`rig` has its stack started."""
    rig.env |= {
        "PENSTOCK_ENGINE": "vllm", "PENSTOCK_ENGINE_DTYPE": "float32",
        "PENSTOCK_ENGINE_MAX_SEQUENCES": "64", "PENSTOCK_ENGINE_KV_CACHE_MB": "512",
        # As many as torch gives lm-eval; where nobody waits for an answer no core need be spared.
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    }  # fmt: skip
    env = rig.environment | OFFLINE | {"HF_DATASETS_CACHE": str(Path(rig.folder) / "datasets")}
    peer = Peer("bench.lm_eval_alone", env, {"backend": "hf", "model": str(MODEL_FOLDER)})
    rig.start("api", "control", "inference")
    key = asyncio.run(rig.key(new_id("t")))
    sides = [_Sides(shots) for shots in SHOTS]
    for side in sides:
        # The first is for warming up.
        for turn in range(rounds + 1):
            side.add(*_turn(rig, peer, key, side.shots, turn), counts=turn > 0)
    peer.end()
    return _figure(sides)


def _turn(rig: Rig, peer: Peer, key: str, shots: int, turn: int) -> tuple[Any, Any]:
    """What lm-eval and the platform say of the same questions, one after the other."""
    text = questions(f"{turn} {new_id('m')[-6:]} ", shots)
    file = Path(rig.folder) / f"questions-{shots}-{turn}.jsonl"
    file.write_text(text)
    theirs = peer.ask({"folder": str(rig.folder), "file": str(file)})
    ours = asyncio.run(through(rig, key, text))
    print(
        f"  {shots} shots, {turn}: lm-eval {theirs['seconds']:.1f} s, audit {ours['seconds']:.1f} s"
    )
    return theirs, ours


@dataclass
class _Sides:
    """Items a second of each side, and how far their numbers are apart."""

    shots: int
    theirs: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    items: int = 0
    flips: int = 0
    widest: float = 0.0

    def add(self, peer: dict[str, Any], audit: dict[str, Any], *, counts: bool) -> None:
        both = zip(chosen(audit["numbers"]), chosen(peer["numbers"]), strict=True)
        self.items += ITEMS
        self.flips += sum(x != y for x, y in both)
        self.widest = max(self.widest, apart(audit["numbers"], peer["numbers"]))
        if counts:
            self.theirs.append(ITEMS / peer["seconds"])
            self.ours.append(ITEMS / audit["seconds"])


def _figure(sides: list[_Sides]) -> Figure:
    of = [ratio(side.ours, side.theirs) for side in sides]
    middle = min(statistics.median(one) for one in of)
    flips, items = sum(side.flips for side in sides), sum(side.items for side in sides)
    widest = max(side.widest for side in sides)
    rows = [
        ("lm-eval 0.4.13 (`hf`, batches of 32)", *(spread(side.theirs) for side in sides)),
        ("POST /v1/audits", *(spread(side.ours) for side in sides)),
        ("**audit / lm-eval**", *(spread(one, 2) for one in of)),
    ]
    return Figure(
        "audits",
        f"14. Items a second of an audit of {ITEMS:,} questions with {CHOICES} choices",
        ("items/s", *(f"{side.shots} examples before each" for side in sides)),
        rows,
        (f"at least {AT_LEAST:g}, the same answers; measured {middle:.2f}, {flips} of {items:,} differ, "
         f"log likelihoods within {widest:.1e} nats"),
        middle >= AT_LEAST and flips == 0 and widest < SAME,
        [(f"{len(sides[0].ours)} rounds in turns after one that is not counted; float32, rill, both with their "
          "model loaded and every core theirs in turn. lm-eval: from the file to its scores, no bootstrap."),
         ("Audit: from POST to the commit that ends the job: queue, controls, probe, answers in Postgres, "
          "intervals.")],
        {f"{name}_{side.shots}": values for side in sides
         for name, values in (("peer", side.theirs), ("platform", side.ours))},
    )  # fmt: skip
