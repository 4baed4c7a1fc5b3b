"""Figure 9: training tokens a second and peak memory of the trainer, beside a bare transformers Trainer."""

import asyncio
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

from datasets import Dataset

from bench.figure import Figure, child, ratio, spread
from tests.lessons import RILL
from tests.rig import Rig
from workers.ranks import Ranks

TARGET = 0.95
ROWS, LENGTH, BATCH = 120, 256, 8
WARM, STEPS = 3, 9
HYPER = {
    "epochs": 1, "max_steps": STEPS, "batch_size": BATCH, "micro_batch": BATCH // 2, "learning_rate": 1e-3,
    "warmup_ratio": 0.0, "schedule": "linear", "weight_decay": 0.0, "max_grad_norm": 1.0, "lora_rank": 16,
    "lora_alpha": 32, "lora_dropout": 0.0, "checkpoint_every": 1000, "log_every": 3,
}  # fmt: skip
THREADS = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1))}
NOTES = [
    (f"3 rounds in turns, a process each; rill in float32 on a CPU, {BATCH} packed rows of {LENGTH} tokens a step in "
     f"two micro batches, AdamW, clipping; steps {WARM + 1} to {STEPS} are timed."),
    ("Bare: `bench/bare_trainer.py`, transformers' Trainer and PEFT with the same rows, positions and settings, and "
     "no more. Ours besides: accuracy of tokens, counts, a look for a stop at each step, events."),
    "Peak: the resident memory of the process, libraries included.",
]  # fmt: skip


def rows(folder: Path) -> Path:
    """Packed rows of one length, two documents each, so that a step has as many tokens on both sides."""
    chance = random.Random(7)
    made = [{
        "input_ids": [chance.randrange(10, 4000) for _ in range(LENGTH)],
        "loss": [1] * LENGTH,
        "segments": [100, LENGTH - 100],
    } for _ in range(ROWS)]  # fmt: skip
    Dataset.from_list(made).save_to_disk(str(folder / "train"))
    return folder


def plan_of(folder: Path, data: Path, tuning: str) -> Path:
    folder.mkdir()
    plan = folder / "plan.json"
    plan.write_text(json.dumps({
        "model": str(RILL), "method": "supervised", "tuning": tuning, "data": str(data), "out": str(folder / "out"),
        "checkpoints": str(folder / "checkpoints"), "hyper": HYPER, "dtype": "float32", "seed": 7,
    }))  # fmt: skip
    return plan


async def ours(plan: Path) -> dict[str, Any]:
    """The trainer as its worker starts it; timed by what the worker hears."""
    ranks = Ranks("workers.trainer", plan, env=THREADS)
    heard: dict[int, float] = {}
    memory = 0
    try:
        await ranks.start()
        async for event in ranks.events():
            assert event["type"] != "failed", event["message"]
            if event["type"] == "step":
                heard[event["step"]] = time.perf_counter()
                memory = event["memory_bytes"]
    finally:
        await ranks.end()
    return {"speed": speed(heard), "bytes": memory}


def speed(heard: dict[int, float]) -> float:
    return (STEPS - WARM) * BATCH * LENGTH / (heard[STEPS] - heard[WARM])


def theirs(data: Path, tuning: str, folder: Path) -> dict[str, Any]:
    options = {
        "model": str(RILL),
        "data": str(data),
        "tuning": tuning,
        "hyper": HYPER,
        "folder": str(folder),
    }
    said = child("bench.bare_trainer", options, os.environ | THREADS)
    return {"speed": speed({int(k): v for k, v in said["heard"].items()}), "bytes": said["bytes"]}


def measure(rig: Rig, *, rounds: int = 3) -> Figure:
    """Needs no stack."""
    data = rows(rig.folder / "data")
    table: list[tuple[str, ...]] = []
    worst, memory = [], []
    raw: dict[str, Any] = {}
    for tuning in ("lora", "full"):
        both: dict[str, list[dict[str, Any]]] = {"bare": [], "trainer": []}
        for turn in range(rounds):
            both["bare"].append(theirs(data, tuning, rig.folder / f"bare-{tuning}-{turn}"))
            plan = plan_of(rig.folder / f"{tuning}-{turn}", data, tuning)
            both["trainer"].append(asyncio.run(ours(plan)))
            speeds = [both[side][-1]["speed"] for side in ("bare", "trainer")]
            print(f"  {tuning} {turn}: {', '.join(f'{x:.0f}' for x in speeds)}", flush=True)
        bare, trainer = ([one["speed"] for one in both[side]] for side in ("bare", "trainer"))
        of_bare = ratio(trainer, bare)
        peaks = {side: [one["bytes"] / 2**20 for one in both[side]] for side in both}
        for name, side in (("bare `Trainer`", "bare"), ("our trainer", "trainer")):
            speeds = [one["speed"] for one in both[side]]
            table.append((f"{tuning}: {name}", spread(speeds), spread(peaks[side])))
        of_memory = ratio(peaks["trainer"], peaks["bare"])
        table.append((f"**{tuning}: ours / bare**", spread(of_bare, 2), spread(of_memory, 2)))
        worst.append(statistics.median(of_bare))
        memory.append(statistics.median(of_memory))
        raw[tuning] = both
    return Figure(
        "training",
        "10. Tokens a second in training",
        ("", "tokens/s", "peak MiB"),
        table,
        f"at least {TARGET:g} of a bare transformers `Trainer`; measured {min(worst):.2f} at worst, "
        f"with {max(memory):.2f} of its memory at most",
        min(worst) >= TARGET,
        NOTES,
        raw,
    )  # fmt: skip
