"""A memory plan beside what rill's training really takes on a CPU, and beside DeepSpeed's own estimate."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from peft import LoraConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

from bench import gpu_results
from core.catalog import sizes
from core.training import memory
from core.training.setting import Setting

RILL = Path(__file__).parents[2] / "core" / "model" / "rill"
CONFIG = sizes.configuration(RILL)
# What comes and goes inside one operation (a gradient beside its input) is not in the plan.
TOLERANCE = 0.06


def model_of(setting: Setting) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(RILL, dtype=torch.float32)
    if setting.tuning == "lora":
        model = get_peft_model(model, LoraConfig(r=setting.lora_rank, target_modules="all-linear"))
    if setting.checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    return model.train()


def nbytes(tensors: Iterable[Any]) -> int:
    return sum(t.untyped_storage().nbytes() for t in tensors if torch.is_tensor(t))


def peak(setting: Setting) -> int:
    """Bytes of tensors at the fullest moment of a second step, from the allocator's own record."""
    torch.manual_seed(0)
    model = model_of(setting)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    ids = torch.randint(0, CONFIG["vocab_size"], (setting.micro_batch, setting.length))

    def step() -> None:
        for _ in range(setting.accumulation):
            model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    states = [t for state in optimizer.state.values() for t in state.values()]
    there = nbytes(model.parameters()) + nbytes(states)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    assert record.profiler is not None
    found = record.profiler.kineto_results
    assert found is not None
    changes = [e for e in found.events() if e.name() == "[memory]"]
    most = now = there
    for change in sorted(changes, key=lambda e: e.start_ns()):
        now += change.nbytes()
        most = max(most, now)
    return most


SETTINGS = {
    "full": Setting(tuning="full", dtype="float32", micro_batch=2, length=384),
    "full, gathered": Setting(
        tuning="full", dtype="float32", micro_batch=2, accumulation=2, length=256
    ),
    "full, few tokens": Setting(tuning="full", dtype="float32", micro_batch=1, length=64),
    "full, checkpointing": Setting(
        tuning="full", dtype="float32", micro_batch=2, length=384, checkpointing=True
    ),
    "lora": Setting(dtype="float32", micro_batch=2, length=384),
    "lora, checkpointing": Setting(dtype="float32", micro_batch=2, length=384, checkpointing=True),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_plan_is_near_the_measured_peak(name: str) -> None:
    planned = memory.plan(CONFIG, SETTINGS[name])
    tensors = planned.device_bytes - planned.device["runtime"]
    assert peak(SETTINGS[name]) == pytest.approx(tensors, rel=TOLERANCE)


def states(planned: memory.MemoryPlan) -> int:
    """On a device, of what stays from step to step and what the step works with."""
    names = ("weights", "master", "optimizer", "gradients", "working")
    return sum(planned.device[name] for name in names)


# 1 for the states alone, 1.5 with what DeepSpeed advises to leave room for, 2 since pinned blocks are rounded up to
# powers of two.
@pytest.mark.parametrize("gpus", [1, 4, 8])
@pytest.mark.parametrize("size", sizes.PRESETS)
def test_stage_three_agrees_with_deepspeeds_estimate(size: str, gpus: int) -> None:
    config, one = sizes.preset(size), Setting(tuning="full", micro_batch=1, length=8, gpus=gpus)
    one = replace(one, zero_stage=3, bucket=0, live_parameters=0)
    total, largest = sizes.parameters(config), sizes.shape(config).embedding

    def estimate(factor: float, *, offload: bool) -> tuple[int, int]:
        host, device, _ = estimate_zero3_model_states_mem_needs(
            total, largest, gpus, cpu_offload=offload, cpu_offload_params=offload,
            additional_buffer_factor=factor,
        )  # fmt: skip
        return host, device

    whole = memory.plan(config, one)
    _, device = estimate(1, offload=False)
    assert states(whole) == pytest.approx(device, rel=0.15)
    away = memory.plan(config, replace(one, offload_optimizer=True, offload_parameters=True))
    least, _ = estimate(1, offload=True)
    most, _ = estimate(2, offload=True)
    assert least <= away.host_bytes - away.host["processes"] <= most
    assert all(away.device[name] == 0 for name in ("weights", "master", "optimizer", "gradients"))


def test_each_stage_divides_more() -> None:
    config, one = sizes.preset("7B"), Setting(tuning="full", gpus=8, micro_batch=1, length=512)
    by_stage = {n: memory.plan(config, replace(one, zero_stage=n)).device for n in (1, 2, 3)}
    total = 6_738_415_616
    assert by_stage[1]["optimizer"] == by_stage[2]["optimizer"] == 8 * total // 8
    assert by_stage[1]["gradients"] == 2 * total
    assert by_stage[2]["gradients"] == by_stage[3]["gradients"] == 2 * total // 8
    assert by_stage[2]["weights"] == 2 * total
    assert by_stage[3]["weights"] == 2 * total // 8


def test_a_preference_is_two_rows_and_whole_training_keeps_a_reference() -> None:
    config = sizes.preset("1B")
    one, two = (Setting(method=m, micro_batch=2, length=512) for m in ("supervised", "dpo"))
    lora, lora_pairs = memory.plan(config, one), memory.plan(config, two)
    assert lora_pairs.device["activations"] == 2 * lora.device["activations"]
    assert lora_pairs.device["logits"] == 2 * lora.device["logits"]
    assert lora_pairs.device["reference"] == 0, "the adapter switched off is the reference"
    full = memory.plan(config, replace(two, tuning="full"))
    assert full.device["reference"] == 4 * sizes.parameters(config)


GPU = gpu_results.planned(gpu_results.read())


@pytest.mark.parametrize("at", range(len(GPU)), ids=[name for name, *_ in GPU])
def test_a_plan_is_near_what_a_gpu_measured(at: int) -> None:
    """bench/gpu_training.py's runs of 1B; the host only where a training lives on it."""
    name, planned, of = GPU[at]
    peak, card, host = (gpu_results.gib(of, f"{n}_bytes") for n in ("peak", "card", "host"))
    tensors = (planned.device_bytes - planned.device["runtime"]) / memory.GIB
    assert peak == pytest.approx(tensors, rel=TOLERANCE)
    assert card == pytest.approx(planned.device_bytes / memory.GIB, rel=0.11)
    if "offload" in name:
        assert host == pytest.approx(planned.host_bytes / memory.GIB, rel=0.17)
