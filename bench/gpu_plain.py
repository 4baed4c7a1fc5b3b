"""The plain side of bench/gpu_training.py: a PyTorch loop with nothing around it, and what both sides need first."""

import importlib.metadata
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, load_from_disk
from transformers import AutoConfig, AutoModelForCausalLM

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")


def make(config: str, model: str, dtype: str) -> dict[str, Any]:
    """A model of this configuration with fresh weights, saved."""
    torch.manual_seed(0)
    with DEVICE:
        fresh: Any = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(config), dtype=getattr(torch, dtype)
        )
    fresh.save_pretrained(model)
    return {"parameters": fresh.num_parameters()}


def rows(
    rows: int, length: int, vocab: int, segments: list[int], seed: int, out: str
) -> dict[str, Any]:
    """Rows of random tokens, all of them learned, as `workers.data` leaves them."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab, (rows, length), dtype=np.int32)
    learned = np.ones((rows, length), dtype=np.int8)
    table = {
        "input_ids": list(ids), "loss": list(learned), "segments": [np.array(segments, np.int32)] * rows
    }  # fmt: skip
    Dataset.from_dict(table).save_to_disk(str(Path(out) / "train"))
    return {"rows": rows}


def loop(
    model: str, rows: str, micro_batch: int, accumulation: int, steps: int, warm: int,
    weights: str, autocast: bool,
) -> dict[str, Any]:  # fmt: skip
    """Forward, backward, clip, step: AdamW fused, weights of `weights`, bf16 passes with `autocast`."""
    kept = getattr(torch, weights)
    net: Any = AutoModelForCausalLM.from_pretrained(model, dtype=kept)
    net = net.to(DEVICE).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
    taken = load_from_disk(rows).with_format("torch")
    at, begun, losses = 0, 0.0, torch.zeros(())
    for step in range(1, steps + 1):
        losses = torch.zeros((), device=DEVICE)
        for _ in range(accumulation):
            ids = taken[at : at + micro_batch]["input_ids"].long().to(DEVICE, non_blocking=True)
            at += micro_batch
            half = autocast and kept == torch.float32
            with torch.autocast(DEVICE.type, torch.bfloat16) if half else nullcontext():
                loss = net(input_ids=ids, labels=ids, use_cache=False).loss / accumulation
            loss.backward()
            losses += loss.detach()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.item()
        if step == warm:
            begun = time.perf_counter()
    took = time.perf_counter() - begun
    tokens = micro_batch * accumulation * taken[0]["input_ids"].numel() * (steps - warm)
    return {
        "tokens_per_s": tokens / took,
        "step_s": took / (steps - warm),
        "peak_bytes": torch.cuda.max_memory_allocated() if GPU else 0,
        "loss": losses.item(),
    }


def main() -> int:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    if "make" in asked:
        answer = make(**asked["make"], dtype=asked["dtype"])
    elif "rows" in asked:
        answer = rows(**asked["rows"])
    elif "loop" in asked:
        answer = loop(**asked["loop"])
    else:
        answer = {name: importlib.metadata.version(name) for name in asked["versions"]}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
