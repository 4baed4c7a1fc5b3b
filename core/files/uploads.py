"""The verbs for uploads: a file announced first, sent in parts, and put together from them."""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, InvalidInput, NotFound, TooLarge
from core.files import service
from core.files.service import Kept
from core.files.tables import CANCELLED, COMPLETED, EXPIRED, PENDING, File, Upload, UploadPart
from core.ids import new_id
from core.security.keys import Caller
from core.storage.seam import Storage, Stored, joined

KEYS = "parts"
UPLOAD_ID = r"^upload_[0-9a-z]{26}$"
# OpenAI's: an hour, and 64 MB a part.
OPEN_FOR = timedelta(hours=1)
MAX_PART = 64 * 1024 * 1024
# An upload of 8 GiB in the parts OpenAI's client makes has 128.
MAX_PARTS = 10_000


def key_of(part_id: str) -> str:
    return f"{KEYS}/{part_id}"


class Sum(NamedTuple):
    """What an upload is to be put together from."""

    upload: Upload
    part_ids: list[str]


async def create(
    session: AsyncSession,
    caller: Caller,
    *,
    filename: str,
    purpose: str,
    mime_type: str,
    size: int,
    keep_s: int | None,
    limit: int,
) -> Upload:
    """Open an upload of `size` bytes for an hour. Raises TooLarge past `limit`."""
    if size > limit:
        raise TooLarge(f"bytes must not be more than {limit}", param="bytes", code="file_too_large")
    upload = Upload(
        id=new_id("upload"), tenant_id=caller.tenant_id, filename=filename, purpose=purpose,
        mime_type=mime_type, bytes=size, keep_s=keep_s, expires_at=func.now() + OPEN_FOR,
    )  # fmt: skip
    session.add(upload)
    await session.flush()
    await session.refresh(upload)
    return upload


async def get(
    session: AsyncSession, caller: Caller, upload_id: str, *, lock: bool = False
) -> Upload:
    """Raises NotFound. `lock` holds it against every other change until the transaction ends."""
    found = None
    if re.fullmatch(UPLOAD_ID, upload_id):
        query = select(Upload).where(Upload.id == upload_id, Upload.tenant_id == caller.tenant_id)
        found = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"No upload {upload_id[:64]!r}. Check the id and the key's tenant.", param="upload_id"
        )
    return found


async def opened(
    session: AsyncSession, caller: Caller, upload_id: str, *, lock: bool = False
) -> Upload:
    """An upload that takes parts. Raises Conflict for one that is completed, cancelled or expired."""
    upload = await get(session, caller, upload_id, lock=lock)
    if (now := status(upload)) != PENDING:
        raise Conflict(
            f"The upload is {now}; create another one", param="upload_id", code="upload_not_pending"
        )
    return upload


def status(upload: Upload) -> str:
    """An upload is expired from that moment on, not from when the sweep gets to it."""
    late = upload.status == PENDING and upload.expires_at <= datetime.now(UTC)
    return EXPIRED if late else upload.status


async def add_part(
    session: AsyncSession, caller: Caller, upload_id: str, part_id: str, stored: Stored
) -> UploadPart:
    """The row of a part whose bytes are kept. Raises Conflict, TooLarge past the announced size."""
    upload = await opened(session, caller, upload_id, lock=True)
    count, total = (
        await session.execute(
            select(func.count(), func.coalesce(func.sum(UploadPart.bytes), 0)).where(
                UploadPart.upload_id == upload.id
            )
        )
    ).one()
    # A client may send a part again whose answer it did not get: so twice the size, not once.
    if total + stored.size > 2 * upload.bytes or count >= MAX_PARTS:
        raise TooLarge(
            f"the parts have more than twice the {upload.bytes} bytes announced,"
            f" or are more than {MAX_PARTS}",
            param="data",
        )
    part = UploadPart(id=part_id, upload_id=upload.id, bytes=stored.size)
    session.add(part)
    await session.flush()
    await session.refresh(part)
    return part


async def planned(
    session: AsyncSession, caller: Caller, upload_id: str, part_ids: Sequence[str]
) -> Sum | Upload:
    """What to put together; or the upload itself, when that was done before with the same parts.

    Raises Conflict as `opened` does, InvalidInput for parts that are not there, named twice, or do
    not add up to the size that was announced.
    """
    # Locked: one that completes between this and the look at its parts would leave none to be found.
    upload = await get(session, caller, upload_id, lock=True)
    if upload.status == COMPLETED and upload.part_ids == list(part_ids):
        return upload
    upload = await opened(session, caller, upload_id)
    rows = await session.execute(
        select(UploadPart.id, UploadPart.bytes).where(UploadPart.upload_id == upload.id)
    )
    sizes = {row.id: row.bytes for row in rows}
    wrong = [one for one in part_ids if one not in sizes]
    if wrong or len(set(part_ids)) != len(part_ids):
        what = f"names {wrong[0][:64]!r}, no part of this upload" if wrong else "names a part twice"
        raise InvalidInput(f"part_ids {what}", param="part_ids")
    total = sum(sizes[one] for one in part_ids)
    if total != upload.bytes:
        raise InvalidInput(
            f"the parts have {total} bytes together, but bytes said {upload.bytes}",
            param="part_ids", code="size_mismatch",
        )  # fmt: skip
    return Sum(upload, list(part_ids))


async def put_together(storage: Storage, plan: Sum, md5: str | None) -> Kept:
    """Write one file of the parts. Raises InvalidInput when it is not what `md5` says."""
    seen = hashlib.md5(usedforsecurity=False)

    async def chunks() -> AsyncIterator[bytes]:
        async for piece in joined(storage, [key_of(one) for one in plan.part_ids]):
            seen.update(piece)
            yield piece
        if md5 is not None and seen.hexdigest() != md5.lower():
            raise InvalidInput(
                f"md5 is {seen.hexdigest()} of what was uploaded; send what differs again",
                param="md5", code="checksum_mismatch",
            )  # fmt: skip

    return await service.keep(storage, chunks(), limit=plan.upload.bytes, param="part_ids")


async def complete(
    session: AsyncSession, caller: Caller, plan: Sum, kept: Kept
) -> tuple[Upload, File, list[str]]:
    """Make the file; returns the keys of the parts, to be deleted once this is committed.

    Raises Conflict when the upload was completed or cancelled in the meantime.
    """
    upload = await get(session, caller, plan.upload.id, lock=True)
    # Not `opened`: one that was open when the client asked is completed, however long it took.
    if upload.status != PENDING:
        raise Conflict(
            f"The upload is {upload.status}", param="upload_id", code="upload_not_pending"
        )
    file = await service.add(
        session, caller.tenant_id, kept,
        filename=upload.filename, purpose=upload.purpose, keep_s=upload.keep_s,
    )  # fmt: skip
    upload.status, upload.file_id, upload.part_ids = COMPLETED, file.id, plan.part_ids
    await session.flush()
    return upload, file, await drop_parts(session, upload.id)


async def cancel(session: AsyncSession, caller: Caller, upload_id: str) -> tuple[Upload, list[str]]:
    """Give an upload up; returns the keys of its parts, to be deleted once this is committed.

    Raises NotFound, and Conflict for one that is completed or expired.
    """
    upload = await get(session, caller, upload_id, lock=True)
    if upload.status == CANCELLED:
        return upload, []
    upload = await opened(session, caller, upload_id)
    await session.execute(update(Upload).where(Upload.id == upload.id).values(status=CANCELLED))
    await session.refresh(upload)
    return upload, await drop_parts(session, upload.id)


async def drop_parts(session: AsyncSession, upload_id: str) -> list[str]:
    """Delete the rows of an upload's parts. Returns the keys of their bytes."""
    rows = await session.scalars(
        delete(UploadPart).where(UploadPart.upload_id == upload_id).returning(UploadPart.id)
    )
    return [key_of(one) for one in rows]
