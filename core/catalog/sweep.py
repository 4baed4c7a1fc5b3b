"""What the catalog lets go of: artefacts of versions long retired, of jobs that came to nothing, bytes without a row.

Rows go before bytes. An artefact's row is deleted under its lock, looked at once more: whoever wants to refer to
it meanwhile waits (core/catalog/artifacts.py, `add`) and then makes it anew, at a place of its own.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, delete, exists, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import Text

from core.catalog import artifacts
from core.catalog.artifacts import Artifact
from core.catalog.tables import ArtifactRow, DatasetVersion, Version

BATCH = 500
# An artefact is kept before its version is there. A minute would do; this is far beyond it.
GRACE = timedelta(hours=1)
# Bytes are written before their row, those of a large model over hours; this is far beyond them.
UNCLAIMED_FOR = timedelta(days=2)

_LIVE = "('queued', 'running')"
_OPEN = "('validating', 'in_progress', 'finalizing', 'cancelling')"

# A job or batch names the version it was accepted for: what it is to be answered with stays until it has ended.
_RELEASE = (
    text(
        f"""UPDATE versions v SET artifact = NULL
            WHERE v.stage = 'retired' AND v.artifact IS NOT NULL
              AND v.retired_at <= now() - make_interval(secs => :keep)
              AND NOT EXISTS (SELECT FROM jobs j WHERE j.model = v.name AND j.state IN {_LIVE})
              AND NOT EXISTS (SELECT FROM batches b WHERE b.model = v.name AND b.status IN {_OPEN})"""  # noqa: S608 - only constants are formatted in
    ),
    text(
        f"""UPDATE dataset_versions v SET artifact = NULL
            WHERE v.artifact IS NOT NULL AND v.retired_at <= now() - make_interval(secs => :keep)
              AND NOT EXISTS (SELECT FROM jobs j WHERE j.spec ->> 'dataset' = v.id AND j.state IN {_LIVE})"""  # noqa: S608 - only constants are formatted in
    ),
)
# What a job made that did not succeed is nobody's; nobody ever saw it.
_FORGET = tuple(
    text(
        f"""DELETE FROM {table} v WHERE v.published_at IS NULL
              AND v.created_at < now() - make_interval(secs => :grace)
              AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = v.job_id AND j.state IN {_LIVE})"""  # noqa: S608 - only constants are formatted in
    )
    for table in ("versions", "dataset_versions")
)


async def release(session: AsyncSession, keep: timedelta) -> None:
    """Let go of the artefacts of what was retired more than `keep` ago; the rows stay, with their lineage."""
    for statement in _RELEASE:
        await session.execute(statement, {"keep": keep.total_seconds()})


async def forget(session: AsyncSession) -> None:
    """Delete what was never published and never will be."""
    for statement in _FORGET:
        await session.execute(statement, {"grace": GRACE.total_seconds()})


async def unreferenced(session: AsyncSession, grace: timedelta = GRACE) -> list[Artifact]:
    """Delete the rows of up to BATCH artefacts that nothing refers to. Their bytes are to go once this is committed."""
    due = (
        select(ArtifactRow.digest)
        .where(ArtifactRow.created_at < datetime.now(UTC) - grace, *_unnamed())
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    locked = (await session.scalars(due)).all()
    # Again, now that nobody can come to refer to them: what did so before we had the lock is seen by now.
    gone = await session.scalars(
        delete(ArtifactRow)
        .where(ArtifactRow.digest.in_(locked), *_unnamed())
        .returning(ArtifactRow)
    )
    return [artifacts.of(row) for row in gone]


def _unnamed() -> tuple[ColumnElement[bool], ...]:
    return (
        ~exists().where(Version.artifact == ArtifactRow.digest),
        ~exists().where(DatasetVersion.artifact == ArtifactRow.digest),
    )


_PLACES = text("SELECT place FROM artifacts WHERE place = ANY(:places)").bindparams(
    bindparam("places", type_=ARRAY(Text))
)


async def unclaimed(session: AsyncSession, keys: Iterable[tuple[str, datetime]]) -> list[str]:
    """Those of the `keys` that have been there for long and belong to no artefact."""
    before = datetime.now(UTC) - UNCLAIMED_FOR
    old = {key: artifacts.place_of(key) for key, modified in keys if modified < before}
    known = set((await session.scalars(_PLACES, {"places": list(set(old.values()))})).all())
    return [key for key, place in old.items() if place not in known]
