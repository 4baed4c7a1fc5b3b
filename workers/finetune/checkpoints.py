"""Checkpoints beyond this host: into the store while the training goes on, and back for the next attempt.

trainer --folder step-000040--> Saver --bytes--> store  checkpoints/<job>/<attempt>/<step>/<sha256>
                                      --row----> training_checkpoints, in the attempt's name
next attempt  <-- newest row whose every byte is what it was; a broken one is marked and passed over
"""

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import NotFound, Unavailable
from core.storage.seam import PIECE
from core.training import service
from core.training.sweep import KEYS, keys_of
from core.training.tables import Checkpoint
from workers.context import Attempt
from workers.finetune.telling import Teller
from workers.process import FinetuneWorker

log = structlog.get_logger(__name__)

MANIFEST = "manifest.json"
# In the store: the last two, so that a broken one costs an interval, and the best.
KEEP = 2
# Between two tries while the store or Postgres is away.
AGAIN_S = 1.0


def prefix(job_id: str, attempt: int, step: int) -> str:
    return f"{KEYS}/{job_id}/{attempt}/{step}"


class Saver:
    """Copies checkpoints one after the other; of those that wait only the newest is worth it."""

    def __init__(self, worker: FinetuneWorker, attempt: Attempt, teller: Teller) -> None:
        self._worker, self._attempt, self._teller = worker, attempt, teller
        self._next: tuple[int, Path, dict[str, Any]] | None = None
        self._work: asyncio.Task[None] | None = None

    def save(self, step: int, folder: Path, metrics: dict[str, Any]) -> None:
        """Returns at once; `finished` waits. Nothing that goes wrong with it ends the training."""
        self._next = (step, folder, metrics)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._save())

    async def finished(self) -> None:
        """Wait until the newest is in the store, for as long as the store or Postgres is away."""
        if self._work is not None:
            await self._work

    async def drop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _save(self) -> None:
        while self._next is not None:
            (step, folder, metrics), self._next = self._next, None
            try:
                if not await self._kept(step):
                    await self._keep(step, folder, metrics)
            except FileNotFoundError:
                # The trainer keeps few on its own disk.
                log.info("a checkpoint was overtaken by later ones before it was copied", step=step)
            except (Unavailable, SQLAlchemyError, OSError) as error:
                log.warning("a checkpoint is not in the store yet", step=step, error=repr(error))
                await asyncio.sleep(AGAIN_S)
                self._next = self._next or (step, folder, metrics)

    async def _keep(self, step: int, folder: Path, metrics: dict[str, Any]) -> None:
        files = await self._copied(step, folder)
        # Its steps are in the rows before it is: an attempt that goes on from it does not walk them again.
        await self._teller.flush()
        claim = self._attempt.claim
        async with self._worker.db.begin() as session:
            ours = await service.keep(session, claim.id, claim.attempt, step, files, metrics)
        if ours:
            self._teller.checkpoint(step, metrics)
            await self._thin(metrics)

    async def _kept(self, step: int) -> bool:
        """An earlier attempt may have been here: the same step has the same bytes."""
        async with self._worker.db.single() as session:
            return any(
                c.step == step for c in await service.usable(session, self._attempt.claim.id)
            )

    async def _copied(self, step: int, folder: Path) -> list[dict[str, Any]]:
        manifest = json.loads((folder / MANIFEST).read_bytes())["files"]
        below = prefix(self._attempt.claim.id, self._attempt.claim.attempt, step)
        files = [{"path": path, **about} for path, about in sorted(manifest.items())]
        for file in files:
            stored = await self._worker.storage.write(
                f"{below}/{file['sha256']}", _read(folder / file["path"])
            )
            if stored.sha256 != file["sha256"]:
                raise OSError(f"{file['path']} of step {step} is not what its manifest says")
        return [file | {"at": below} for file in files]

    async def _thin(self, newest: dict[str, Any]) -> None:
        """Drop what neither the next attempt nor the result needs."""
        job_id = self._attempt.claim.id
        async with self._worker.db.begin() as session:
            there = await service.usable(session, job_id)
            best = newest.get("best_step")
            old = [c for c in there[KEEP:] if c.step != best]
            if old:
                await service.dropped(session, job_id, [c.step for c in old])
        for checkpoint in old:
            await self._worker.storage.delete(*keys_of(checkpoint.files))


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


async def restored(worker: FinetuneWorker, job_id: str, into: Path) -> Path | None:
    """The newest checkpoint that is whole, as a folder the trainer goes on from; None: from the beginning.

    One with other bytes than it had is marked broken. Raises Unavailable while the store is away.
    """
    async with worker.db.single() as session:
        there = await service.usable(session, job_id)
    by_step = {checkpoint.step: checkpoint for checkpoint in there}
    for checkpoint in there:
        # The trainer ends with the best weights, which may be an earlier checkpoint's.
        best = by_step.get(checkpoint.metrics.get("best_step") or checkpoint.step, checkpoint)
        if all(
            [
                await _whole(worker, job_id, one, into)
                for one in {checkpoint.step: checkpoint, best.step: best}.values()
            ]
        ):
            return into / folder_name(checkpoint.step)
    return None


def folder_name(step: int) -> str:
    return f"step-{step:06d}"


async def _whole(worker: FinetuneWorker, job_id: str, checkpoint: Checkpoint, into: Path) -> bool:
    folder = into / folder_name(checkpoint.step)
    if folder.is_dir():
        return True
    wrong = await _fetched(worker, checkpoint, folder)
    if wrong is None:
        return True
    log.error(
        "a checkpoint is broken; going on from the one before", step=checkpoint.step, why=wrong
    )
    shutil.rmtree(folder, ignore_errors=True)
    async with worker.db.begin() as session:
        await service.broken(session, job_id, checkpoint.step)
    return False


async def _fetched(worker: FinetuneWorker, checkpoint: Checkpoint, folder: Path) -> str | None:
    """What is wrong with it, if anything."""
    about: dict[str, dict[str, Any]] = {}
    for file in checkpoint.files:
        plain = PurePosixPath(file["path"])
        if plain.is_absolute() or ".." in plain.parts:
            return f"{file['path']} is no path inside a checkpoint"
        path = folder / plain
        path.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        try:
            with path.open("wb") as target:
                async for piece in worker.storage.read(f"{file['at']}/{file['sha256']}"):
                    found.update(piece)
                    await asyncio.to_thread(target.write, piece)
        except NotFound:
            return f"{file['path']} is missing (SHA-256 {file['sha256']})"
        if found.hexdigest() != file["sha256"]:
            return f"{file['path']}: expected SHA-256 {file['sha256']}, found {found.hexdigest()}"
        about[file["path"]] = {"bytes": file["bytes"], "sha256": file["sha256"]}
    (folder / MANIFEST).write_text(json.dumps({"files": about}))
    return None
