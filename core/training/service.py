"""The verbs for what a training leaves behind. Writers say which attempt they are; a stale one changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.ids import new_id
from core.training.tables import Checkpoint, TrainingEvent


@dataclass(frozen=True, slots=True)
class Told:
    """`mark`: see TrainingEvent; `type`: metrics, checkpoint, progress or problem."""

    mark: str
    type: str
    data: dict[str, Any]


_TELL = text(
    """INSERT INTO training_events (job_id, mark, type, data)
       SELECT j.id, v.mark, v.type, v.data
       FROM unnest(:marks, :types, cast(:data AS jsonb[])) WITH ORDINALITY AS v(mark, type, data, nth)
       JOIN (SELECT id FROM jobs WHERE id = :job AND attempt = :attempt AND state = 'running' FOR SHARE) j ON true
       ORDER BY v.nth
       ON CONFLICT (job_id, mark) DO NOTHING"""
).bindparams(*(bindparam(n, type_=ARRAY(Text)) for n in ("marks", "types", "data")))


async def tell(session: AsyncSession, job_id: str, attempt: int, told: Sequence[Told]) -> None:
    """Keep these, in their order, unless they were told before or the job is another attempt's."""
    await session.execute(
        _TELL,
        {
            "job": job_id, "attempt": attempt,
            "marks": [t.mark for t in told], "types": [t.type for t in told],
            "data": [orjson.dumps(t.data).decode() for t in told],
        },
    )  # fmt: skip


async def events(
    session: AsyncSession,
    job_id: str,
    *,
    after: int | None = None,
    limit: int = 20,
    newest: bool = True,
) -> tuple[list[TrainingEvent], bool]:
    """A page of what was told, newest first, from beyond the id `after`; and whether there is more."""
    order = TrainingEvent.id.desc() if newest else TrainingEvent.id.asc()
    query = select(TrainingEvent).where(TrainingEvent.job_id == job_id).order_by(order)
    if after is not None:
        query = query.where(TrainingEvent.id < after if newest else TrainingEvent.id > after)
    rows = list((await session.scalars(query.limit(limit + 1))).all())
    return rows[:limit], len(rows) > limit


_KEEP = text(
    """INSERT INTO training_checkpoints (job_id, step, id, attempt, files, metrics)
       SELECT id, :step, :checkpoint, attempt, :files, :metrics
       FROM jobs WHERE id = :job AND attempt = :attempt AND state = 'running' FOR SHARE
       ON CONFLICT (job_id, step) DO UPDATE SET attempt = excluded.attempt, files = excluded.files,
           metrics = excluded.metrics, broken_at = NULL, dropped_at = NULL
       RETURNING step"""
).bindparams(bindparam("files", type_=JSONB), bindparam("metrics", type_=JSONB))


async def keep(
    session: AsyncSession,
    job_id: str,
    attempt: int,
    step: int,
    files: list[dict[str, Any]],
    metrics: dict[str, Any],
) -> bool:
    """A checkpoint whose bytes are in the store; False when the job is another attempt's."""
    made = await session.execute(
        _KEEP,
        {
            "job": job_id, "attempt": attempt, "step": step, "checkpoint": new_id("ckpt"),
            "files": files, "metrics": metrics,
        },
    )  # fmt: skip
    return made.one_or_none() is not None


async def checkpoints(
    session: AsyncSession, job_id: str, *, after: str | None = None, limit: int = 10
) -> tuple[list[Checkpoint], bool]:
    """A page, the latest step first, from below the checkpoint `after`; and whether there is more."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())
    if after is not None:
        step = select(Checkpoint.step).where(Checkpoint.job_id == job_id, Checkpoint.id == after)
        query = query.where(Checkpoint.step < step.scalar_subquery())
    rows = list((await session.scalars(query.limit(limit + 1))).all())
    return rows[:limit], len(rows) > limit


async def usable(session: AsyncSession, job_id: str) -> list[Checkpoint]:
    """Those that an attempt may go on from, the latest first."""
    query = select(Checkpoint).where(
        Checkpoint.job_id == job_id, Checkpoint.broken_at.is_(None), Checkpoint.dropped_at.is_(None)
    )
    return list((await session.scalars(query.order_by(Checkpoint.step.desc()))).all())


async def broken(session: AsyncSession, job_id: str, step: int) -> None:
    """Say that a checkpoint's bytes are not what they should be: no attempt tries it again."""
    await _mark(session, job_id, [step], broken_at=func.now())


async def dropped(session: AsyncSession, job_id: str, steps: Sequence[int]) -> None:
    """Say that the bytes of these are to go, before they do."""
    await _mark(session, job_id, steps, dropped_at=func.now())


async def _mark(session: AsyncSession, job_id: str, steps: Sequence[int], **values: Any) -> None:
    await session.execute(
        update(Checkpoint)
        .where(Checkpoint.job_id == job_id, Checkpoint.step.in_(steps))
        .values(**values)
    )
