"""What a training says: numbered events for its log, and rows that outlive the log.

An attempt that goes on from a checkpoint walks some steps a second time. They come out the same (docs/training.md), so
what was told is not told again: `told` is the last step in the log, and a row's mark is taken once.
"""

import asyncio
import time
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.events import types
from core.training import service
from core.training.service import Told
from workers.context import Attempt
from workers.process import FinetuneWorker

log = structlog.get_logger(__name__)

FLUSH_S = 0.5
_STEP = (
    "step", "total_steps", "epoch", "loss", "learning_rate", "grad_norm", "token_accuracy", "tokens",
    "tokens_per_s", "memory_bytes", "eta_s",
)  # fmt: skip


class Teller:
    """Lives on the worker's loop. `flush` writes the rows; `keep_flushing` does it again and again."""

    def __init__(self, worker: FinetuneWorker, attempt: Attempt) -> None:
        self._worker, self._attempt = worker, attempt
        before = attempt.claim.progress or {}
        self._told = int(before.get("told", 0))
        self._told_valid = int(before.get("told_valid", 0))
        self._told_checkpoint = int(before.get("checkpoint", {}).get("step", 0))
        self._phase = before.get("phase")
        self._rows: list[Told] = []
        self._flushing = asyncio.Lock()
        self._began = time.monotonic()
        self._before_s = float(before.get("took", {}).get("engine_seconds", 0.0))
        # The last metrics carry what was taken so far, so nothing else needs to.
        attempt.took = lambda: None

    def phase(self, name: str, **more: Any) -> None:
        """A new part of the work; `more`: what became known with it (data, hyperparameters, estimate)."""
        if name == self._phase and not more:
            return
        self._phase = name
        data = {"phase": name} | more
        self._attempt.tell(types.PROGRESS, data)
        mark = f"{name}-{self._attempt.claim.attempt}"
        self._rows.append(Told(mark, "progress", data))

    def problems(self, found: list[dict[str, Any]]) -> None:
        self._rows += [Told(f"problem-{n}", "problem", one) for n, one in enumerate(found)]

    def step(self, event: dict[str, Any]) -> None:
        """One logging interval of the trainer."""
        data = {name: event[name] for name in _STEP if event.get(name) is not None}
        data |= event.get("extra") or {}
        data["seconds"] = round(self._before_s + time.monotonic() - self._began, 3)
        if data["step"] > self._told:
            self._told = data["step"]
            self._attempt.tell(types.METRICS, data)
        self._rows.append(Told(f"step-{data['step']}", "metrics", data))

    def valid(self, event: dict[str, Any]) -> None:
        """A look at the validation split."""
        data = {"step": event["step"], "valid_loss": event["loss"]}
        if event.get("token_accuracy") is not None:
            data["valid_token_accuracy"] = event["token_accuracy"]
        if data["step"] > self._told_valid:
            self._told_valid = data["step"]
            self._attempt.tell(types.METRICS, data)
        self._rows.append(Told(f"valid-{data['step']}", "metrics", data))

    def checkpoint(self, step: int, metrics: dict[str, Any]) -> None:
        """One that is in the store."""
        data = {"step": step, "metrics": metrics}
        if step > self._told_checkpoint:
            self._told_checkpoint = step
            self._attempt.tell(types.CHECKPOINT, data)
        self._rows.append(Told(f"checkpoint-{step}", "checkpoint", data))

    async def flush(self) -> None:
        """Write what is not written yet. Raises as Postgres does; nothing is lost by that."""
        async with self._flushing:
            rows = self._rows[:]
            if rows:
                async with self._worker.db.begin() as session:
                    await service.tell(
                        session, self._attempt.claim.id, self._attempt.claim.attempt, rows
                    )
                del self._rows[: len(rows)]

    async def keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except (SQLAlchemyError, OSError) as error:
                log.warning("metrics are not kept yet", error=repr(error))
