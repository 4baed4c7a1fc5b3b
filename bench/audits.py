"""Figure 14: an audit of 1,000 questions through the platform, beside lm-eval on the same weights and machine."""

import asyncio
import json
import random
import statistics
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
AT_LEAST = 1.0
# Log likelihoods of one choice by two engines in float32: rounding, summed over its tokens.
SAME = 1e-3
OFFLINE = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
TOOK = """SELECT extract(epoch FROM finished_at - created_at)::float8, state FROM jobs
          WHERE id = %s AND finished_at IS NOT NULL"""
NUMBERS = """SELECT answer -> 'likelihoods' FROM audit_answers WHERE job_id = %s AND subject = 'model'
             ORDER BY number"""


def questions(mark: str) -> str:
    """JSONL: {"question", "choices", "answer"}; the same words for both sides."""
    draw = random.Random(mark)
    lines = []
    for prompt in prompts(ITEMS, mark):
        choices = [f" {draw.choice(VERBS)} {thing}" for thing in draw.sample(OBJECTS, CHOICES)]
        row = {"question": prompt, "choices": choices, "answer": draw.randrange(CHOICES)}
        lines.append(json.dumps(row))
    return "\n".join(lines) + "\n"


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
    }  # fmt: skip
    folder = Path(rig.folder)
    env = rig.environment | OFFLINE | {"HF_DATASETS_CACHE": str(folder / "datasets")}
    peer = Peer("bench.lm_eval_alone", env, {"backend": "hf", "model": str(MODEL_FOLDER)})
    rig.start("api", "control", "inference")
    key = asyncio.run(rig.key(new_id("t")))
    theirs: list[float] = []
    ours: list[float] = []
    flips, widest = 0, 0.0
    for turn in range(rounds + 1):
        text = questions(f"{turn} {new_id('m')[-6:]} ")
        file = folder / f"questions-{turn}.jsonl"
        file.write_text(text)
        p = peer.ask({"folder": str(folder), "file": str(file)})
        a = asyncio.run(through(rig, key, text))
        both = zip(chosen(a["numbers"]), chosen(p["numbers"]), strict=True)
        flips += sum(x != y for x, y in both)
        widest = max(widest, apart(a["numbers"], p["numbers"]))
        print(f"  {turn}: lm-eval {p['seconds']:.1f} s, audit {a['seconds']:.1f} s; {flips} flips")
        # The first is for warming up.
        if turn:
            theirs.append(ITEMS / p["seconds"])
            ours.append(ITEMS / a["seconds"])
    peer.end()
    same = f"{flips} of {ITEMS * (rounds + 1):,} differ, log likelihoods within {widest:.1e} nats"
    return _figure(theirs, ours, same, flips == 0 and widest < SAME)


def _figure(theirs: list[float], ours: list[float], same: str, is_same: bool) -> Figure:
    of = ratio(ours, theirs)
    middle = statistics.median(of)
    return Figure(
        "audits",
        f"14. Items a second of an audit of {ITEMS:,} questions with {CHOICES} choices",
        ("", "items/s"),
        [
            ("lm-eval 0.4.13 (`hf`, batches of 32)", spread(theirs)),
            ("POST /v1/audits", spread(ours)),
            ("**audit / lm-eval**", spread(of, 2)),
        ],
        f"at least {AT_LEAST:g}, the same answers; measured {middle:.2f}, {same}",
        middle >= AT_LEAST and is_same,
        [(f"{len(ours)} rounds in turns after one that is not counted; float32, rill, both with their model "
          "loaded. lm-eval: from the file to its scores, no bootstrap."),
         ("Audit: from POST to the commit that ends the job: queue, controls, probe, answers in Postgres, "
          "intervals.")],
        {"peer": theirs, "platform": ours},
    )  # fmt: skip
