"""What time takes away: the checkpoints of trainings that ended long ago, and bytes that no row names."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.training import service
from core.training.tables import Checkpoint

KEYS = "checkpoints"
BATCH = 100
# Bytes are there before their row, by the time that a large checkpoint takes to be copied.
UNCLAIMED_FOR = timedelta(hours=24)

_OVER = text(
    """SELECT c.job_id, c.step, c.files FROM training_checkpoints c JOIN jobs j ON j.id = c.job_id
       WHERE c.dropped_at IS NULL AND j.finished_at < now() - make_interval(secs => :after)
       ORDER BY j.finished_at LIMIT :limit FOR UPDATE OF c SKIP LOCKED"""
)


def keys_of(files: list[dict[str, Any]]) -> list[str]:
    """Where a checkpoint's bytes are in the store."""
    return sorted({f"{file['at']}/{file['sha256']}" for file in files})


async def over(session: AsyncSession, after_s: float) -> list[str]:
    """Give up to BATCH checkpoints of jobs that ended `after_s` ago up. Returns the keys of their bytes."""
    rows = (await session.execute(_OVER, {"after": after_s, "limit": BATCH})).all()
    for row in rows:
        await service.dropped(session, row.job_id, [row.step])
    return [key for row in rows for key in keys_of(row.files)]


async def unclaimed(session: AsyncSession, keys: Iterable[tuple[str, datetime]]) -> list[str]:
    """Those of the `keys` that have been there for a day and belong to no checkpoint that is kept."""
    before = datetime.now(UTC) - UNCLAIMED_FOR
    old = [key for key, modified in keys if modified < before]
    jobs = {key.split("/")[1] for key in old if key.count("/") > 1}
    query = select(Checkpoint.files).where(
        Checkpoint.job_id.in_(jobs), Checkpoint.dropped_at.is_(None)
    )
    known = {key for files in await session.scalars(query) for key in keys_of(files)}
    return [key for key in old if key not in known]
