"""Two ranks under ZeRO-3 go on exactly, and hand over whole weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import lessons
from workers.ranks import Ranks
from workers.trainer import checkpoints

# Stage 3 with all values small, as a model of five million parameters wants them. Nothing is offloaded: that would
# compile DeepSpeed's cpu_adam for minutes on a machine that never did.
ZERO_3 = {
    "train_batch_size": 4, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 1,
    "zero_optimization": {"stage": 3, "reduce_bucket_size": 500_000, "stage3_param_persistence_threshold": 1000},
}  # fmt: skip


async def run(plan: Path) -> list[dict[str, Any]]:
    ranks = Ranks("workers.trainer", plan, world=2, env={"OMP_NUM_THREADS": "1"})
    try:
        await ranks.start()
        return [event async for event in ranks.events()]
    finally:
        await ranks.end()


def curve(events: list[dict[str, Any]], name: str) -> dict[int, float]:
    return {e["step"]: e[name] for e in events if e["type"] == "step"}


async def test_two_ranks_go_on_where_they_were(tmp_path: Path) -> None:
    data = lessons.supervised(tmp_path / "data")
    wish: dict[str, Any] = {"tuning": "full", "deepspeed": ZERO_3, "hyper": {"epochs": 1}}
    undisturbed = await run(lessons.plan(tmp_path / "run", data, **wish))
    assert undisturbed[-1]["type"] == "done"
    kept = tmp_path / "run" / "checkpoints"
    assert checkpoints.steps(kept) == [2, 4]
    whole = load_file(kept / "step-000004" / "model.safetensors")
    assert sum(tensor.numel() for tensor in whole.values()) == 4_885_760
    resumed = await run(lessons.plan(tmp_path / "run", data, resume=kept / "step-000002", **wish))
    losses = curve(resumed, "loss")
    assert list(losses) == [3, 4]
    # Two ranks add their gradients through shared memory: not to the last bit as alone.
    assert losses == pytest.approx({n: curve(undisturbed, "loss")[n] for n in losses}, abs=1e-4)
    assert curve(resumed, "tokens").items() <= curve(undisturbed, "tokens").items()
    assert resumed[-1]["best_step"] == undisturbed[-1]["best_step"]
    again = load_file(kept / "step-000004" / "model.safetensors")
    torch.testing.assert_close(again, whole, atol=1e-4, rtol=0)
