"""What "auto" comes to: enough updates for small sets, rates that small models bear; and what was asked stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs import hyper
from core.jobs.finetune import Hyperparameters, Method
from core.jobs.hyper import Data, resolved

RILL, WIDE = 256, 4096


def method(tuning: str = "lora", kind: str = "supervised", **asked: Any) -> Method:
    return Method.model_validate({"type": kind, "tuning": tuning, "hyperparameters": asked})


def test_a_small_set_gets_the_updates_that_its_task_needs() -> None:
    found = resolved(method(), Data(1000, 43_000), RILL)
    assert (found.batch_size, found.epochs, found.total_steps) == (4, 2, 500)
    tiny = resolved(method(), Data(64, 2500), RILL)
    assert (tiny.batch_size, tiny.epochs, tiny.total_steps) == (4, 10, 160)


def test_a_large_set_gets_larger_batches_and_two_passes() -> None:
    found = resolved(method(), Data(100_000, 40_000_000), WIDE)
    assert (found.batch_size, found.epochs) == (64, 2)


def test_the_rate_falls_with_the_width_and_for_what_moves_more() -> None:
    rate = {
        (tuning, kind, width): resolved(method(tuning, kind), Data(1000, 1), width).learning_rate
        for tuning in ("lora", "full")
        for kind in ("supervised", "dpo")
        for width in (RILL, WIDE)
    }
    assert rate["lora", "supervised", RILL] == pytest.approx(2.5e-3, rel=0.01)
    assert rate["lora", "supervised", WIDE] == pytest.approx(2.86e-4, rel=0.01)
    assert rate["full", "supervised", WIDE] == pytest.approx(2.86e-5, rel=0.01)
    assert rate["lora", "dpo", RILL] == pytest.approx(2.5e-4, rel=0.01)


def test_what_was_asked_stands() -> None:
    asked: dict[str, Any] = {
        "n_epochs": 3, "batch_size": 16, "micro_batch_size": 2, "learning_rate": 1e-4, "lora_rank": 4,
        "lora_alpha": 8, "schedule": "linear", "warmup_ratio": 0.5, "eval_every": 7, "checkpoint_every": 9,
        "beta": 0.3, "early_stopping_patience": 2,
    }  # fmt: skip
    found = resolved(method(**asked), Data(160, 1), RILL)
    assert (found.epochs, found.batch_size, found.micro_batch, found.total_steps) == (3, 16, 2, 30)
    assert (found.learning_rate, found.lora_rank, found.lora_alpha) == (1e-4, 4, 8)
    assert (found.schedule, found.warmup_ratio, found.beta) == ("linear", 0.5, 0.3)
    assert (found.eval_every, found.checkpoint_every) == (7, 9)
    assert found.early_stopping == {"patience": 2, "min_delta": 0.0}


def test_openais_multiplier_is_of_the_automatic_rate() -> None:
    plain = resolved(method(), Data(100, 1), WIDE).learning_rate
    twice = resolved(method(learning_rate_multiplier=2), Data(100, 1), WIDE).learning_rate
    assert twice == pytest.approx(2 * plain, rel=0.01)


def test_max_steps_ends_it_sooner() -> None:
    assert resolved(method(max_steps=7), Data(1000, 1), RILL).total_steps == 7


def test_rows_are_packed_when_there_are_many_and_never_pairs() -> None:
    assert not hyper.packed(method(), 1000)
    assert hyper.packed(method(), 100 * 2**20)
    assert hyper.packed(method(packing=True), 1000)
    assert not hyper.packed(method(kind="dpo", packing=True), 100 * 2**20)


def test_a_row_is_never_longer_than_the_model_reads() -> None:
    assert hyper.length(Hyperparameters(), 2048) == hyper.LENGTH
    assert hyper.length(Hyperparameters(max_length=4096), 2048) == 2048


@given(
    rows=st.integers(1, 10**7),
    width=st.integers(8, 20_000),
    batch=st.integers(1, 4096) | st.just("auto"),
)
def test_every_set_gets_at_least_a_step_of_a_row(rows: int, width: int, batch: object) -> None:
    found = resolved(method(batch_size=batch), Data(rows, rows), width)
    assert 1 <= found.micro_batch <= found.batch_size <= max(rows, 1)
    assert found.total_steps >= 1
    assert found.checkpoint_every >= 1
    assert 0 < found.learning_rate < 1
