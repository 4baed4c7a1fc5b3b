"""The trainer trains, goes on exactly where it was, and ends clearly whatever happens to it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import lessons
from workers.ranks import Died, Ranks
from workers.trainer import checkpoints

Event = dict[str, Any]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


class School:
    def __init__(self, folder: Path) -> None:
        self.log = (folder / "school.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.school"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=os.environ | ONE_THREAD,
        )  # fmt: skip

    def train(
        self,
        plan: Path,
        *,
        stop_at: int | None = None,
        stop_by: str = "file",
        file_bytes: int | None = None,
    ) -> list[Event]:
        assert self.process.stdin
        assert self.process.stdout
        wish = {"plan": str(plan), "stop_at": stop_at, "stop_by": stop_by, "file_bytes": file_bytes}
        self.process.stdin.write(json.dumps(wish).encode() + b"\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(b"EVENTS "):
                events: list[Event] = json.loads(line[7:])
                return events
        raise AssertionError(Path(self.log.name).read_text()[-2000:])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets: supervised, packed, preferences."""
    home = tmp_path_factory.mktemp("lessons")
    lessons.supervised(home / "supervised")
    lessons.supervised(home / "packed", rows=8, packed=True)
    lessons.preferences(home / "preferences")
    return home


@pytest.fixture(scope="module")
def school(home: Path) -> Iterator[School]:
    school = School(home)
    yield school
    school.process.communicate()
    school.log.close()


@pytest.fixture(scope="module")
def whole(school: School, home: Path) -> tuple[Path, list[Event]]:
    """The plan of an undisturbed run, with dropout, and its events; its steps 6 and 8 are kept."""
    plan = lessons.plan(home / "whole", home / "supervised")
    return plan, school.train(plan)


def of(kind: str, events: list[Event]) -> list[Event]:
    return [event for event in events if event["type"] == kind]


def curve(events: list[Event]) -> dict[int, tuple[Any, ...]]:
    """To the last bit: what a step says of the training, and not of the machine."""
    told = ("loss", "grad_norm", "learning_rate", "tokens", "token_accuracy", "epoch")
    return {e["step"]: tuple(e[name] for name in told) for e in of("step", events)}


async def run(
    plan: Path, told: list[Event], blow: tuple[int, signal.Signals] | None = None, world: int = 1
) -> None:
    """The trainer as its worker runs it; `blow` is a signal to its last rank once a step was told."""
    ranks = Ranks("workers.trainer", plan, env=ONE_THREAD, world=world)
    try:
        await ranks.start()
        async for event in ranks.events():
            told.append(event)
            if blow and event["type"] == "step" and event["step"] == blow[0]:
                os.kill(ranks.pids[-1], blow[1])
    finally:
        await ranks.end()


def test_a_run_tells_its_phases_steps_validations_and_checkpoints(
    whole: tuple[Path, list[Event]],
) -> None:
    plan, events = whole
    steps = of("step", events)
    assert [e["step"] for e in steps] == list(range(1, 9))
    assert all(e["total_steps"] == 8 and e["tokens_per_s"] > 0 for e in steps)
    assert all(e["memory_bytes"] > 2**20 and e["eta_s"] >= 0 for e in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert [e["phase"] for e in of("phase", events)] == ["training", "saving"]
    assert [e["step"] for e in of("eval", events)] == [4, 8]
    assert [e["step"] for e in of("checkpoint", events)] == [2, 4, 6, 8]
    assert {"train_loss", "valid_loss"} <= of("checkpoint", events)[-1]["metrics"].keys()
    [done] = of("done", events)
    assert done["step"] == done["best_step"] == 8
    assert done["tokens"] == steps[-1]["tokens"]
    # Every token of every row, twice, and no padding.
    rows = plan.parent.parent / "supervised" / "train"
    assert done["tokens"] == 2 * sum(map(len, lessons.load(rows)["input_ids"]))


def test_what_is_handed_over_is_an_adapter_that_names_no_machine(
    whole: tuple[Path, list[Event]],
) -> None:
    out = whole[0].parent / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "rill"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert all("lora_" in name for name in load_file(out / "adapter_model.safetensors"))


def test_a_checkpoint_holds_no_weights_but_in_safetensors(whole: tuple[Path, list[Event]]) -> None:
    folder = whole[0].parent / "checkpoints" / "step-000008"
    assert checkpoints.verify(folder).keys() == {
        "adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "progress.json",
        "rng_state.pth", "scheduler.pt", "trainer_state.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "changes", "hyper"),
    [
        ("packed", {"tuning": "full"}, {}),
        # A checkpoint between two logs: the next one still speaks of all its steps.
        ("supervised", {}, {"log_every": 3, "checkpoint_every": 4}),
        ("preferences", {"method": "dpo"}, {"epochs": 1}),
        ("preferences", {"method": "dpo", "tuning": "full"}, {"epochs": 1, "learning_rate": 1e-5}),
        ("supervised", {"dtype": "bfloat16", "tuning": "full"}, {"epochs": 1}),
    ],
    ids=["full-packed", "log-every-3", "dpo", "dpo-full", "bfloat16"],
)
def test_a_resumed_run_is_the_undisturbed_run(
    school: School, home: Path, request: pytest.FixtureRequest, data: str, changes: Any, hyper: Any
) -> None:
    folder = home / request.node.callspec.id
    undisturbed = school.train(lessons.plan(folder, home / data, hyper=hyper, **changes))
    [done] = of("done", undisturbed)
    kept = checkpoints.steps(folder / "checkpoints")
    resume = folder / "checkpoints" / checkpoints.name(kept[0])
    weights = {p.name: p.read_bytes() for p in (folder / "out").iterdir()}
    again = school.train(lessons.plan(folder, home / data, resume=resume, hyper=hyper, **changes))
    steps = curve(again)
    assert steps
    assert {step: curve(undisturbed)[step] for step in steps} == steps
    assert min(steps) > kept[0]
    assert of("done", again) == [done]
    assert {p.name: p.read_bytes() for p in (folder / "out").iterdir()} == weights


@pytest.mark.parametrize("by", ["file", "SIGTERM"])
def test_a_stop_saves_and_the_rest_follows_exactly(
    school: School, home: Path, whole: tuple[Path, list[Event]], by: str
) -> None:
    folder = home / f"stopped-by-{by}"
    # Asked for while step 3 is told, in the middle of an epoch and beside no checkpoint that was due.
    first = school.train(lessons.plan(folder, home / "supervised"), stop_at=3, stop_by=by)
    assert first[-1] == {"type": "stopped", "step": 4}
    plan = lessons.plan(folder, home / "supervised", resume=folder / "checkpoints" / "step-000004")
    second = school.train(plan)
    assert curve(first) | curve(second) == curve(whole[1])


def test_a_run_that_was_killed_before_its_last_word_only_says_it(
    school: School, home: Path, whole: tuple[Path, list[Event]]
) -> None:
    plan, events = whole
    resume = plan.parent / "checkpoints" / "step-000008"
    again = school.train(lessons.plan(plan.parent, home / "supervised", resume=resume))
    assert [e["type"] for e in again] == ["phase", "phase", "done"]
    assert of("done", again) == of("done", events)


def test_mixed_precision_is_handed_over_in_what_it_calculated_with(
    school: School, home: Path
) -> None:
    folder = home / "narrow"
    plan = lessons.plan(
        folder, home / "supervised", hyper={"max_steps": 1}, dtype="bfloat16", tuning="full"
    )
    assert of("done", school.train(plan))
    kept = load_file(folder / "checkpoints" / "step-000001" / "model.safetensors")
    out = load_file(folder / "out" / "model.safetensors")
    assert {t.dtype for t in kept.values()} == {torch.float32}
    assert {t.dtype for t in out.values()} == {torch.bfloat16}
    assert json.loads((folder / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert sorted(p.name for p in (folder / "out").iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


async def test_after_a_kill_the_loss_curve_is_that_of_an_undisturbed_run(
    school: School, home: Path, whole: tuple[Path, list[Event]]
) -> None:
    folder = home / "killed"
    told: list[Event] = []
    with pytest.raises(Died, match="SIGKILL"):
        await run(lessons.plan(folder, home / "supervised"), told, (5, signal.SIGKILL))
    newest = checkpoints.steps(folder / "checkpoints")[-1]
    resume = folder / "checkpoints" / checkpoints.name(newest)
    rest = school.train(lessons.plan(folder, home / "supervised", resume=resume))
    assert rest[-1]["type"] == "done"
    assert curve(told) | curve(rest) == curve(whole[1])
    assert told[0] == {"type": "phase", "phase": "loading"}


def test_a_step_is_the_same_in_one_piece_and_in_many(school: School, home: Path) -> None:
    losses = []
    for micro in (6, 4, 1):
        # Four rows at once do not divide six: three are taken.
        hyper = {
            "batch_size": 6, "micro_batch": micro, "lora_dropout": 0.0, "max_steps": 4,
            "learning_rate": 1e-4,
        }  # fmt: skip
        plan = lessons.plan(home / f"micro-{micro}", home / "supervised", hyper=hyper)
        losses.append([e["loss"] for e in of("step", school.train(plan))])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    assert losses[2] == pytest.approx(losses[0], abs=1e-3)


def test_early_stopping_hands_over_the_best(school: School, home: Path) -> None:
    folder = home / "early"
    # Far too much after a few steps: validation gets worse and worse.
    hyper = {
        "learning_rate": 0.05, "eval_every": 1, "checkpoint_every": 50, "epochs": 6, "warmup_ratio": 0.3,
        "early_stopping": {"patience": 3},
    }  # fmt: skip
    events = school.train(lessons.plan(folder, home / "supervised", hyper=hyper))
    [done] = of("done", events)
    losses = {e["step"]: e["loss"] for e in of("eval", events)}
    best = min(losses, key=losses.__getitem__)
    assert done["stopped_early"]
    assert done["best_step"] == best == done["step"] - 3
    kept = folder / "checkpoints" / checkpoints.name(best) / "adapter_model.safetensors"
    assert (folder / "out" / "adapter_model.safetensors").read_bytes() == kept.read_bytes()


def test_an_adapter_is_trained_on(
    school: School, home: Path, whole: tuple[Path, list[Event]]
) -> None:
    folder = home / "continued"
    hyper = {"learning_rate": 0.0, "max_steps": 1}
    events = school.train(
        lessons.plan(
            folder, home / "supervised", hyper=hyper, start_from=str(whole[0].parent / "out")
        )
    )
    assert of("eval", events)[-1]["loss"] == of("eval", whole[1])[-1]["loss"]


def test_a_loss_that_is_no_number_ends_the_run_and_the_last_good_checkpoint_stays(
    school: School, home: Path
) -> None:
    folder = home / "nan"
    hyper = {
        "learning_rate": 1e30,
        "max_grad_norm": 0.0,
        "checkpoint_every": 1,
        "warmup_ratio": 0.3,
    }
    events = school.train(lessons.plan(folder, home / "supervised", hyper=hyper))
    failed = events[-1]
    assert failed["type"] == "failed"
    assert failed["code"] == "nan_loss"
    assert "learning_rate" in failed["message"]
    kept = checkpoints.steps(folder / "checkpoints")
    assert kept
    for step in kept:
        name = folder / "checkpoints" / checkpoints.name(step)
        checkpoints.verify(name)
        weights = load_file(name / "adapter_model.safetensors")
        assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_full_disk_ends_the_run_and_earlier_checkpoints_stay(school: School, home: Path) -> None:
    folder = home / "full-disk"
    hyper = {"max_steps": 2}
    first = school.train(lessons.plan(folder, home / "supervised", hyper=hyper))
    assert of("done", first)
    resume = folder / "checkpoints" / "step-000002"
    plan = lessons.plan(folder, home / "supervised", resume=resume, hyper={"max_steps": 4})
    events = school.train(plan, file_bytes=100_000)
    assert events[-1]["code"] == "disk_full"
    assert "PENSTOCK_TRAINING_DIR" in events[-1]["message"]
    assert checkpoints.steps(folder / "checkpoints") == [2]
    checkpoints.verify(resume)


def test_a_corrupt_checkpoint_is_named_and_not_loaded(
    school: School, home: Path, whole: tuple[Path, list[Event]]
) -> None:
    folder = home / "corrupt"
    kept = whole[0].parent / "checkpoints" / "step-000006"
    spoiled = folder / "checkpoints" / kept.name
    spoiled.mkdir(parents=True)
    for path in kept.iterdir():
        (spoiled / path.name).write_bytes(path.read_bytes())
    broken = spoiled / "optimizer.pt"
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(data)
    events = school.train(lessons.plan(folder, home / "supervised", resume=spoiled))
    [failed] = events
    assert failed["code"] == "checkpoint_corrupt"
    assert "step-000006/optimizer.pt" in failed["message"]
    assert checkpoints.digest(broken) in failed["message"]
    assert checkpoints.digest(kept / "optimizer.pt") in failed["message"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "albatross", "architectures": ["Albatross"]}, "Albatross"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "BertModel"),
        (None, "config.json"),
    ],
)
def test_a_model_that_cannot_be_trained_is_said_so(
    school: School, home: Path, config: Any, said: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    if config:
        (model / "config.json").write_text(json.dumps(config))
    plan = lessons.plan(tmp_path / "run", home / "supervised", model=str(model))
    failed = school.train(plan)[-1]
    assert failed["code"] == "model_unsupported"
    assert said in failed["message"]


def test_layers_that_a_model_does_not_have_are_said_so(school: School, home: Path) -> None:
    plan = lessons.plan(home / "no-layers", home / "supervised", hyper={"lora_targets": ["c_attn"]})
    failed = school.train(plan)[-1]
    assert failed["code"] == "model_unsupported"
    assert "c_attn" in failed["message"]
