"""A checkpoint is whole or absent, and a byte that changed is found."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from tests import lessons
from workers.trainer import checkpoints, faults
from workers.trainer import plan as plans
from workers.trainer.checkpoints import CheckpointCorrupt
from workers.trainer.plan import EarlyStopping
from workers.trainer.progress import Progress
from workers.trainer.telling import Voice


def made(root: Path, step: int) -> Path:
    new = checkpoints.begin(root, step)
    (new / "weights.safetensors").write_bytes(b"weights %d" % step)
    (new / "shards").mkdir()
    (new / "shards" / "zero.pt").write_bytes(b"optimizer")
    return checkpoints.complete(new)


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    folder = made(tmp_path, 40)
    assert folder == tmp_path / "step-000040"
    files = checkpoints.verify(folder)
    assert files.keys() == {"weights.safetensors", "shards/zero.pt"}
    assert files["shards/zero.pt"]["bytes"] == 9


def test_what_was_not_completed_is_no_checkpoint(tmp_path: Path) -> None:
    made(tmp_path, 1)
    half = checkpoints.begin(tmp_path, 2)
    (half / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "step-000003").mkdir()
    assert checkpoints.steps(tmp_path) == [1]
    # Begun again it is empty; a completed one replaces what an earlier run left.
    assert not list(checkpoints.begin(tmp_path, 2).iterdir())
    assert checkpoints.verify(made(tmp_path, 1))


def test_a_changed_a_missing_and_an_unreadable_file_are_named(tmp_path: Path) -> None:
    folder = made(tmp_path, 7)
    path = folder / "shards" / "zero.pt"
    kept = checkpoints.digest(path)
    path.write_bytes(b"optimizeR")
    with pytest.raises(
        CheckpointCorrupt,
        match=f"step-000007/shards/zero.pt has sha256 {checkpoints.digest(path)}.*{kept}",
    ):
        checkpoints.verify(folder)
    path.unlink()
    with pytest.raises(CheckpointCorrupt, match=f"shards/zero.pt is missing.*{kept}"):
        checkpoints.verify(folder)
    (folder / checkpoints.MANIFEST).write_text('{"files":')
    with pytest.raises(CheckpointCorrupt, match=r"manifest\.json cannot be read"):
        checkpoints.verify(folder)


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8, 10):
        made(tmp_path, step)
    checkpoints.begin(tmp_path, 12)
    checkpoints.prune(tmp_path, best=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step-000004",
        "step-000008",
        "step-000010",
    ]


def test_the_best_is_the_lowest_and_patience_counts_what_is_not_enough() -> None:
    early = EarlyStopping(patience=2, min_delta=0.1)
    reached = Progress()
    heard = [
        reached.validated(step, loss, None, early) for step, loss in enumerate((3, 2, 1.95, 2.5, 1))
    ]
    # 1.95 is better, and not by enough.
    assert heard == [True, True, True, False, True]
    assert (reached.best_step, reached.best_loss, reached.waited) == (4, 1, 0)


@pytest.fixture
def asked(tmp_path: Path) -> plans.Plan:
    return plans.load(lessons.plan(tmp_path / "run", tmp_path))


def test_running_out_of_memory_names_the_nearest_setting(asked: plans.Plan) -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**60)
    for error in (of_torch.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")):
        fault = faults.of(error, asked)
        assert fault is not None
        assert fault.code == "out_of_memory"
        assert fault.setting == {"micro_batch": 1}
        assert "micro batch of 1 (the batch stays 4)" in fault.message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_full(asked: plans.Plan, number: int) -> None:
    closing = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    closing.__context__ = OSError(number, os.strerror(number))
    fault = faults.of(closing, asked)
    assert fault is not None
    assert fault.code == "disk_full"


def test_what_nobody_knows_is_no_fault_of_the_clients(asked: plans.Plan) -> None:
    assert faults.of(RuntimeError("connection reset by peer"), asked) is None


def test_a_voice_says_that_it_lives_when_nothing_else_was_said() -> None:
    read, write = os.pipe()
    voice = Voice(write, rank=0)
    voice.tell("step", loss=float("nan"), extra={"margin": float("inf")})
    voice.alive()
    voice._spoke -= 11
    voice.alive()
    voice.alive()
    Voice(write, rank=1).tell("step")
    Voice(write, rank=1).failed("disk_full", "x" * 10_000)
    os.close(write)
    with os.fdopen(read) as heard:
        told = [json.loads(line) for line in heard]
    assert [e["type"] for e in told] == ["step", "alive", "failed"]
    assert told[0] == {"type": "step", "loss": None, "extra": {"margin": None}}
    # Ranks share the pipe: what one writes at once must not be cut in two.
    assert len(json.dumps(told[2])) < 4096
