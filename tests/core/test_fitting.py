"""A training that does not fit is refused in numbers, with the setting nearest to it that fits."""

import re
from dataclasses import replace

import pytest

from core.catalog import sizes
from core.training import fitting, memory
from core.training.fitting import Capacity
from core.training.memory import GIB
from core.training.setting import Setting

ONE = Capacity(80 * GIB, 256 * GIB)
FULL = Setting(tuning="full", micro_batch=8, length=2048)


def changes(size: str, setting: Setting, capacity: Capacity) -> tuple[str, ...]:
    planned = memory.plan(sizes.preset(size), setting)
    found = fitting.nearest(planned, capacity)
    assert found is not None
    assert fitting.fits(found.plan, capacity)
    assert found.plan.setting.batch == setting.batch, "the batch is what was asked for"
    return found.changes


def test_what_fits_is_left_alone() -> None:
    setting = Setting(micro_batch=4, length=1024)
    assert changes("1B", setting, ONE) == ()
    planned = memory.plan(sizes.preset("1B"), setting)
    with pytest.raises(ValueError, match="nothing to refuse"):
        fitting.refusal(planned, ONE)


def test_fewer_rows_at_once_come_first() -> None:
    (only,) = changes("1B", replace(FULL, micro_batch=16), ONE)
    assert only == "micro batch 4 instead of 16 with accumulation 4 instead of 1"


def test_then_activations_are_computed_again() -> None:
    small = Capacity(70 * GIB, 256 * GIB)
    assert changes("30B", Setting(micro_batch=1, length=2048), small) == (
        "activation checkpointing",
    )


def test_then_the_states_are_divided_and_moved_to_the_host() -> None:
    said = changes("7B", FULL, ONE)
    assert said[-2:] == ("ZeRO stage 3", "optimizer offloaded to the host")
    eight = replace(FULL, gpus=8, micro_batch=1)
    assert changes("7B", eight, replace(ONE, gpus=8))[-1] == "ZeRO stage 2"


def test_then_rows_are_shortened_and_last_lora_takes_over() -> None:
    little = Capacity(12 * GIB, 16 * GIB)
    said = changes("1B", replace(FULL, micro_batch=1, length=8192), little)
    assert said[0] == "LoRA of rank 16 instead of training all weights"
    assert not any("offload" in one for one in said), "what LoRA made needless is taken back"
    tight = Capacity(8 * GIB, 16 * GIB)
    said = changes("1B", Setting(micro_batch=1, length=16384), tight)
    assert re.match(r"max_length [\d,]+ instead of 16,384", said[0])


def test_on_a_cpu_all_of_it_is_the_hosts() -> None:
    host = Capacity(0, 24 * GIB)
    setting = Setting(tuning="full", dtype="float32", micro_batch=8, length=1024)
    planned = memory.plan(sizes.preset("1B"), setting)
    tensors = planned.device_bytes - memory.CONTEXT
    assert fitting.needs(planned, host) == (0, tensors + memory.CPU_PROCESS)
    assert not any("ZeRO" in one or "offload" in one for one in changes("1B", setting, host))


def test_a_refusal_names_need_place_and_nearest_setting() -> None:
    planned = memory.plan(sizes.preset("7B"), FULL)
    said = fitting.refusal(planned, ONE)
    assert said.startswith(
        "This training needs 219.8 GiB on each of 1 GPU(s) with 80.0 GiB (6,738,"
    )
    assert "activations 111.6" in said
    assert said.endswith("ZeRO stage 3; optimizer offloaded to the host.")
    nothing = fitting.refusal(memory.plan(sizes.preset("30B"), FULL), Capacity(8 * GIB, 8 * GIB))
    assert "No setting of it fits: use a smaller model or larger devices." in nothing
    host = Capacity(80 * GIB, 100 * GIB)
    away = replace(
        FULL, micro_batch=1, zero_stage=3, offload_optimizer=True, offload_parameters=True
    )
    assert "GiB of the host's 100.0 GiB" in fitting.refusal(
        memory.plan(sizes.preset("30B"), away), host
    )
