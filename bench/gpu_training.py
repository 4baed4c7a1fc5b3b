"""How much of a GPU our training uses, beside a plain PyTorch loop, and what ZeRO-3 with offload costs.

    python -m bench.gpu_training --out results.json        on the machine with the GPU
    python -m bench.gpu_table        the tables of bench/data/gpu_training.json (a list of such) into the pages

Each case is a process of its own; they run in turns, over the same model (a size's configuration with fresh
weights), the same rows of random tokens, the same optimizer. Without a GPU it runs too: with `--size tiny`, to try it.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from core.catalog import sizes
from core.training import zero
from core.training.setting import Setting, Tuning
from workers.ranks import Died, Ranks

TINY = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 512, "hidden_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 160, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
# Steps that are not counted: allocators, kernels and DeepSpeed's traces settle in them.
WARM = 3


@dataclass(frozen=True)
class Case:
    """`preset`: of DeepSpeed, "" for none. `documents`: in a row; more than one are packed, and kept apart."""

    name: str
    plain: str = ""  # how the plain loop keeps its weights; "": our trainer
    preset: str = ""
    documents: int = 1
    accumulation: int = 0  # 0: the run's
    tuning: Tuning = "full"
    checkpointing: bool = False


CASES = {
    case.name: case
    for case in (
        Case("plain", plain="float32"),
        Case("plain-bf16", plain="bfloat16"),
        Case("ours"),
        Case("ours-packed", documents=4),
        Case("zero3", preset="zero3-bf16"),
        Case("zero3-offload", preset="zero3-offload-bf16"),
        Case("zero3-offload-fp16", preset="zero3-offload-fp16"),
        Case("zero3-offload-long", preset="zero3-offload-bf16", accumulation=16),
        Case("ours-long", accumulation=16),
        Case("lora", tuning="lora"),
        Case("lora-checkpointing", tuning="lora", checkpointing=True),
        Case("checkpointing", checkpointing=True),
    )
}


@dataclass
class Run:
    """What all cases of one run share."""

    folder: Path
    config: dict[str, Any]
    micro_batch: int
    accumulation: int
    length: int
    steps: int
    gpu: bool
    seed: int = 7

    def rows(self, case: Case) -> int:
        steps_rows = self.micro_batch * (case.accumulation or self.accumulation)
        return steps_rows * (self.steps + 1)


def again(results: dict[str, Any]) -> Run:
    """The run that these results are of, to plan its cases anew."""
    config = TINY if results["size"] == "tiny" else sizes.preset(results["size"])
    return Run(
        Path(), config, results["micro_batch"], results["accumulation"], results["length"],
        results["steps"], gpu=bool(results["machine"]["card"]),
    )  # fmt: skip


def prepare(run: Run) -> None:
    """The model's folder, with fresh weights in bfloat16 or float32 as a hub would have them."""
    (run.folder / "config").mkdir()
    (run.folder / "config" / "config.json").write_text(json.dumps(run.config))
    done = {"config": str(run.folder / "config"), "model": str(run.folder / "model")}
    child("bench.gpu_plain", {"make": done, "dtype": "bfloat16" if run.gpu else "float32"})


def data(run: Run, case: Case) -> Path:
    """Rows of random tokens in the form of `workers.data`, as many as the case's steps take."""
    folder = run.folder / f"rows-{case.documents}-{run.rows(case)}"
    if not folder.exists():
        options = {
            "rows": run.rows(case), "length": run.length, "vocab": run.config["vocab_size"],
            "segments": _cut(run.length, case.documents, run.seed), "seed": run.seed, "out": str(folder),
        }  # fmt: skip
        child("bench.gpu_plain", {"rows": options})
    return folder


def _cut(length: int, documents: int, seed: int) -> list[int]:
    """Unequal documents that fill a row."""
    rng = random.Random(seed)
    marks = sorted(rng.sample(range(1, length), documents - 1))
    return [b - a for a, b in zip([0, *marks], [*marks, length], strict=True)]


def child(module: str, options: dict[str, Any]) -> dict[str, Any]:
    """Runs `python -m module options`; returns its last line, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(options)], stdout=subprocess.PIPE, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.decode().strip().rpartition("\n")[2])
    return answer


def measure(run: Run, case: Case) -> dict[str, Any]:
    """Tokens a second over the counted steps, and the fullest that card and host were."""
    rows = data(run, case)
    with watched(run.gpu) as most:
        seen = plain(run, case, rows) if case.plain else asyncio.run(ours(run, case, rows))
    return seen | {
        "case": case.name,
        "accumulation": case.accumulation or run.accumulation,
        "card_bytes": most["card"],
        "host_bytes": most["host"],
        "rss_bytes": most["rss"],
    }


def setting(run: Run, case: Case) -> Setting:
    """Of a case, for its memory plan."""
    common = Setting(
        tuning=case.tuning,
        checkpointing=case.checkpointing,
        micro_batch=run.micro_batch,
        accumulation=case.accumulation or run.accumulation,
        length=run.length,
        dtype="bfloat16" if run.gpu or case.preset else "float32",
        masked=case.documents > 1,
    )
    return zero.shaped(common, deepspeed(run, case)) if case.preset else common


def deepspeed(run: Run, case: Case) -> dict[str, Any]:
    batch = run.micro_batch * (case.accumulation or run.accumulation)
    return zero.preset(case.preset, batch=batch, micro_batch=run.micro_batch)


def plain(run: Run, case: Case, rows: Path) -> dict[str, Any]:
    options = {
        "model": str(run.folder / "model"), "rows": str(rows / "train"), "micro_batch": run.micro_batch,
        "accumulation": case.accumulation or run.accumulation, "steps": run.steps, "warm": WARM,
        "weights": case.plain, "autocast": run.gpu,
    }  # fmt: skip
    return child("bench.gpu_plain", {"loop": options})


async def ours(run: Run, case: Case, rows: Path) -> dict[str, Any]:
    """Our trainer as a worker runs it; ended after the last counted step, before it saves."""
    folder = Path(tempfile.mkdtemp(dir=run.folder, prefix="plan-"))
    batch = run.micro_batch * (case.accumulation or run.accumulation)
    hyper = {
        "batch_size": batch, "micro_batch": run.micro_batch, "learning_rate": 1e-5, "epochs": 1,
        "max_steps": run.steps + 1, "schedule": "constant", "checkpoint_every": 10**6, "eval_every": 10**6,
        "checkpointing": case.checkpointing,
    }  # fmt: skip
    asked = {
        "model": str(run.folder / "model"), "method": "supervised", "tuning": case.tuning, "data": str(rows),
        "out": str(folder / "out"), "checkpoints": str(folder / "checkpoints"), "hyper": hyper,
        "dtype": "bfloat16" if run.gpu or case.preset else "float32", "seed": run.seed,
        "deepspeed": deepspeed(run, case) if case.preset else None,
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(asked))
    ranks = Ranks("workers.trainer", folder / "plan.json")
    begun = time.perf_counter()
    arrived: dict[int, tuple[float, dict[str, Any]]] = {}
    await ranks.start()
    try:
        async for event in ranks.events():
            if event["type"] == "failed":
                break
            if event["type"] == "step":
                arrived[event["step"]] = (time.perf_counter(), event)
                if event["step"] == run.steps:
                    break
    except Died as error:
        print(error, file=sys.stderr)
    finally:
        await ranks.end(0)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    if run.steps not in arrived:
        raise RuntimeError((folder / "rank0.log").read_text()[-6000:])
    first, last = arrived[WARM], arrived[run.steps]
    tokens = batch * run.length * (run.steps - WARM)
    return {
        "tokens_per_s": tokens / (last[0] - first[0]),
        "step_s": (last[0] - first[0]) / (run.steps - WARM),
        "peak_bytes": last[1]["memory_bytes"],
        "loss": last[1]["loss"],
        "first_step_s": arrived[1][0] - begun,
    }


@contextmanager
def watched(gpu: bool) -> Iterator[dict[str, int]]:
    """The most that was in use while it ran: of the card, of the host beyond what was before, of our processes."""
    most = {"card": 0, "host": 0, "rss": 0}
    before, over = psutil.virtual_memory().used, threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            most["host"] = max(most["host"], psutil.virtual_memory().used - before)
            most["rss"] = max(most["rss"], _resident())
            if gpu:
                most["card"] = max(most["card"], int(smi("memory.used").split()[0]) * 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _resident() -> int:
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def smi(field_: str) -> str:
    return subprocess.run(
        ["nvidia-smi", f"--query-gpu={field_}", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def machine(gpu: bool) -> dict[str, Any]:
    card = smi("name,memory.total,driver_version").splitlines()[0] if gpu else ""
    about: dict[str, Any] = {
        "card": card,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    return about | child("bench.gpu_plain", {"versions": ["torch", "transformers", "deepspeed"]})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_training", description=__doc__)
    parser.add_argument("--size", choices=[*sizes.PRESETS, "tiny"], default="1B")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--micro-batch", type=int, default=4, help="rows of a pass")
    parser.add_argument("--accumulation", type=int, default=4, help="passes of a step")
    parser.add_argument("--steps", type=int, default=13, help=f"{WARM} of them are not counted")
    parser.add_argument("--out", type=Path, required=True, help="the results, as JSON")
    parser.add_argument("--budget-s", type=float, default=3600, help="no case begins after it")
    parser.add_argument("cases", nargs="*", default=["plain", "ours"], help=", ".join(CASES))
    asked = parser.parse_args()
    begun, gpu = time.monotonic(), shutil.which("nvidia-smi") is not None
    config = TINY if asked.size == "tiny" else sizes.preset(asked.size)
    with tempfile.TemporaryDirectory(prefix="penstock-gpu-") as folder:
        run = Run(
            Path(folder),
            config,
            asked.micro_batch,
            asked.accumulation,
            asked.length,
            asked.steps,
            gpu,
        )
        results: dict[str, Any] = {
            "size": asked.size, "micro_batch": asked.micro_batch, "length": asked.length,
            "accumulation": asked.accumulation, "steps": asked.steps, "warm": WARM, "machine": machine(gpu), "runs": [],
        }  # fmt: skip
        prepare(run)
        for name in asked.cases:
            if time.monotonic() - begun > asked.budget_s:
                break
            try:
                seen = measure(run, CASES[name])
            except (RuntimeError, subprocess.CalledProcessError) as error:
                seen = {"case": name, "error": str(error)}
            results["runs"].append(seen)
            asked.out.write_text(json.dumps(results, indent=1) + "\n")
            print(json.dumps(seen), f"{time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
