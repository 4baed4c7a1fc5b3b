"""What bench/gpu_training.py measured on a GPU (bench/data/gpu_training.json), and the plans of the same cases."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gpu_training import CASES, again, setting
from core.training import memory
from core.training.memory import GIB

RESULTS = Path(__file__).parent / "data" / "gpu_training.json"
NAMES = {
    "plain": "plain PyTorch loop, the same numbers",
    "plain-bf16": "plain loop, weights and moments in bf16",
    "ours": "our trainer",
    "ours-packed": "our trainer, rows of 4 packed documents",
    "lora": "our trainer, LoRA of rank 16",
    "checkpointing": "our trainer, checkpointing",
    "lora-checkpointing": "our trainer, LoRA and checkpointing",
    "zero3": "zero3-bf16",
    "zero3-offload": "zero3-offload-bf16",
    "zero3-offload-fp16": "zero3-offload-fp16 (the customer's)",
}
Rounds = dict[str, list[dict[str, Any]]]
_HEAD = (
    "| 1B on one H100, passes of 8,192 tokens, GiB | tensors: planned | measured | card: planned "
    "| measured | host: planned | measured |"
)


def read() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text())
    return found


def rounds(results: dict[str, Any]) -> Rounds:
    found: Rounds = defaultdict(list)
    for one in results["runs"]:
        if "error" not in one:
            found[one["case"]].append(one)
    return found


def gib(of: Sequence[dict[str, Any]], name: str) -> float:
    return float(max(one[name] for one in of)) / GIB


def planned(results: Sequence[dict[str, Any]]) -> list[tuple[str, memory.MemoryPlan, Any]]:
    """Each case of ours with its plan as it is made today, and what it took."""
    found = []
    for one in results:
        run = again(one)
        for name, of in rounds(one).items():
            if not CASES[name].plain:
                found.append((name, memory.plan(run.config, setting(run, CASES[name])), of))
    return found


def comparison(results: Sequence[dict[str, Any]]) -> str:
    """Plan beside measurement, as Markdown."""
    lines = [_HEAD, "|" + "---|" * 7]
    for name, plan, of in planned(results):
        tensors = (plan.device_bytes - plan.device["runtime"]) / GIB
        lines.append(
            f"| {NAMES[name]} | {tensors:.2f} | {gib(of, 'peak_bytes'):.2f} | {plan.device_bytes / GIB:.1f} | "
            f"{gib(of, 'card_bytes'):.1f} | {plan.host_bytes / GIB:.1f} | {gib(of, 'host_bytes'):.1f} |"
        )
    return "\n".join(lines) + "\n"
