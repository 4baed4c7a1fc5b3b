"""The verbs for files: keep bytes, add, get, list, remove.

Bytes take minutes and a transaction must not, so a file is made in two steps: `keep` writes the bytes,
`add` inserts the row that makes them a file.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import Literal, NamedTuple

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from core.errors import InvalidInput, NotFound, TooLarge
from core.files.rules import PURPOSES
from core.files.tables import File
from core.ids import new_id
from core.security.keys import Caller
from core.storage.seam import Storage, Stored

FILE_ID = r"^file_[0-9a-z]{26}$"
KEYS = "files"


class Kept(NamedTuple):
    """Bytes in the store that no row names yet."""

    id: str
    stored: Stored


def key_of(file_id: str) -> str:
    return f"{KEYS}/{file_id}"


async def keep(
    storage: Storage, chunks: AsyncIterable[bytes], *, limit: int, param: str = "file"
) -> Kept:
    """Write the bytes of a file that is to be. When it raises, none of them are left.

    Raises TooLarge past `limit`, InvalidInput for none at all, Unavailable.
    """
    new = new_id("file")
    return Kept(new, await storage.write(key_of(new), within(chunks, limit, param)))


async def within(chunks: AsyncIterable[bytes], limit: int, param: str) -> AsyncIterator[bytes]:
    """The same chunks, of which there must be some, and no more than `limit` bytes."""
    seen = 0
    async for chunk in chunks:
        seen += len(chunk)
        if seen > limit:
            raise TooLarge(f"{param} has more than {limit} bytes, which is the most", param=param)
        yield chunk
    if not seen:
        raise InvalidInput(f"{param} is empty; send at least one byte", param=param)


async def add(
    session: AsyncSession,
    tenant_id: str,
    kept: Kept,
    *,
    filename: str,
    purpose: str,
    keep_s: int | None = None,
) -> File:
    """The row of bytes that are kept; `keep_s`: seconds until it expires. See core/files/rules.py."""
    assert purpose in PURPOSES, purpose
    file = File(
        id=kept.id, tenant_id=tenant_id, filename=filename, purpose=purpose,
        bytes=kept.stored.size, sha256=kept.stored.sha256,
        expires_at=func.now() + timedelta(seconds=keep_s) if keep_s is not None else None,
    )  # fmt: skip
    session.add(file)
    await session.flush()
    await session.refresh(file)
    return file


async def get(
    session: AsyncSession, caller: Caller, file_id: str, *, param: str = "file_id"
) -> File:
    """Raises NotFound for one that is not there, expired, or another tenant's: all look the same."""
    found = None
    if re.fullmatch(FILE_ID, file_id):
        found = await session.scalar(select(File).where(File.id == file_id, *_visible(caller)))
    if found is None:
        raise NotFound(f"No file {file_id[:64]!r}. Check the id and the key's tenant.", param=param)
    return found


async def same(session: AsyncSession, caller: Caller, sha256: str, purpose: str) -> File | None:
    """The tenant's newest file with these very bytes that never expires."""
    query = select(File).where(
        File.tenant_id == caller.tenant_id, File.sha256 == sha256, File.purpose == purpose,
        File.expires_at.is_(None),
    )  # fmt: skip
    found: File | None = await session.scalar(query.order_by(File.id.desc()).limit(1))
    return found


async def listed(
    session: AsyncSession,
    caller: Caller,
    *,
    purpose: str | None = None,
    after: str | None = None,
    limit: int = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> tuple[list[File], bool]:
    """A page from behind `after`, and whether there is more. Ids sort by the time of creation."""
    query = select(File).where(*_visible(caller)).limit(limit + 1)
    query = query.order_by(File.id.asc() if order == "asc" else File.id.desc())
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    if after is not None:
        query = query.where(File.id > after if order == "asc" else File.id < after)
    page = list((await session.scalars(query)).all())
    return page[:limit], len(page) > limit


async def remove(session: AsyncSession, caller: Caller, file_id: str) -> str:
    """Delete the row; once that is committed, the bytes under the key it returns are to go.

    Raises NotFound as `get` does.
    """
    file = await get(session, caller, file_id)
    await session.execute(delete(File).where(File.id == file.id))
    return key_of(file.id)


def _visible(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return (
        File.tenant_id == caller.tenant_id,
        or_(File.expires_at.is_(None), File.expires_at > func.now()),
    )
