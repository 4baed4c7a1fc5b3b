"""What time takes away: expired files, abandoned uploads, and bytes that no row names."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.files import service, uploads
from core.files.tables import EXPIRED, PENDING, File, Upload, UploadPart

BATCH = 500
# Bytes are there before their row, by the length of a transaction; this is far beyond it.
UNCLAIMED_FOR = timedelta(hours=1)
# A complete that began in time may still be reading the parts.
GRACE = timedelta(minutes=15)
# How long an ended upload can still be asked about.
REMEMBERED = timedelta(days=30)


async def expired_files(session: AsyncSession) -> list[str]:
    """Delete the rows of up to BATCH files past their time. Returns the keys of their bytes."""
    due = (
        select(File.id).where(File.expires_at <= func.now()).limit(BATCH)
        .with_for_update(skip_locked=True)
    )  # fmt: skip
    rows = await session.scalars(delete(File).where(File.id.in_(due)).returning(File.id))
    return [service.key_of(one) for one in rows]


async def abandoned_uploads(session: AsyncSession) -> list[str]:
    """End up to BATCH uploads that were not completed in time. Returns the keys of their parts."""
    due = (
        select(Upload.id).where(Upload.status == PENDING, Upload.expires_at <= func.now() - GRACE)
        .limit(BATCH).with_for_update(skip_locked=True)
    )  # fmt: skip
    ended = await session.scalars(
        update(Upload).where(Upload.id.in_(due)).values(status=EXPIRED).returning(Upload.id)
    )
    keys = [key for one in ended.all() for key in await uploads.drop_parts(session, one)]
    await session.execute(
        delete(Upload).where(Upload.status != PENDING, Upload.created_at < func.now() - REMEMBERED)
    )
    return keys


async def unclaimed(session: AsyncSession, keys: Iterable[tuple[str, datetime]]) -> list[str]:
    """Those of the `keys` that have been there for long and belong to no file and no part."""
    before = datetime.now(UTC) - UNCLAIMED_FOR
    old = {key.rpartition("/")[2]: key for key, modified in keys if modified < before}
    ids = list(old)
    known = {
        *await session.scalars(select(File.id).where(File.id.in_(ids))),
        *await session.scalars(select(UploadPart.id).where(UploadPart.id.in_(ids))),
    }
    return [key for one, key in old.items() if one not in known]
