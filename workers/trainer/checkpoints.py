"""Checkpoints on disk: whole or absent, each file's SHA-256 in a manifest that is written last.

.step-000040.new/ --files, fsync--> manifest.json, fsync --rename, fsync--> step-000040/
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
# What a run knows beside weights, optimizer and random numbers (workers/trainer/progress.py).
PROGRESS = "progress.json"
# Two, since the newest may be the one that a dying disk has spoiled.
KEEP = 2
_NAME = re.compile(r"step-(\d{6,})")


class CheckpointCorrupt(Exception):
    """A checkpoint is not what was written: names the file, and both digests."""


def name(step: int) -> str:
    return f"step-{step:06d}"


def step_of(folder: Path) -> int:
    """Raises ValueError when `folder` is not named as a checkpoint."""
    match = _NAME.fullmatch(folder.name)
    if not match:
        raise ValueError(f"{folder} is no checkpoint: its name is not step-<number>")
    return int(match[1])


def steps(root: Path) -> list[int]:
    """The complete checkpoints under `root`, oldest first."""
    found = [p for p in root.iterdir() if _NAME.fullmatch(p.name) and (p / MANIFEST).exists()]
    return sorted(map(step_of, found))


def begin(root: Path, step: int) -> Path:
    """An empty folder to write the checkpoint's files into; what a killed run left there is removed."""
    new = root / f".{name(step)}.new"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(parents=True)
    return new


def complete(new: Path) -> Path:
    """Make what `begin` gave a checkpoint; returns its folder. Raises OSError, e.g. when the disk is full."""
    files = {}
    for path in _files(new):
        files[path.relative_to(new).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": digest(path),
        }
        _sync(path)
    manifest = new / MANIFEST
    manifest.write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n")
    _sync(manifest)
    for folder in {new, *(p for p in new.rglob("*") if p.is_dir())}:
        _sync(folder)
    final = new.with_name(new.name[1:].removesuffix(".new"))
    if final.exists():
        # Of a run that was killed later and resumed earlier; both are whole, and the same.
        shutil.rmtree(final)
    new.rename(final)
    _sync(final.parent)
    return final


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a whole checkpoint. Raises CheckpointCorrupt."""
    manifest = folder / MANIFEST
    try:
        files: dict[str, Any] = json.loads(manifest.read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointCorrupt(f"{folder.name}/{MANIFEST} cannot be read: {error}") from error
    for relative, kept in files.items():
        path = folder / relative
        if not path.is_file():
            raise CheckpointCorrupt(
                f"{folder.name}/{relative} is missing; its sha256 is to be {kept['sha256']}"
            )
        found = digest(path)
        if found != kept["sha256"]:
            raise CheckpointCorrupt(
                f"{folder.name}/{relative} has sha256 {found}, and not {kept['sha256']} as written"
            )
    return files


def prune(root: Path, best: int | None) -> None:
    """Keep the newest two and the best; also removes what killed runs left half written."""
    kept = {*steps(root)[-KEEP:], best}
    for path in root.iterdir():
        half = path.name.startswith(".step-") and path.name.endswith(".new")
        if half or (_NAME.fullmatch(path.name) and step_of(path) not in kept):
            shutil.rmtree(path, ignore_errors=True)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
