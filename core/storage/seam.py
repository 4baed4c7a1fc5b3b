"""What a store of files' bytes can do, and what both kinds of it share.

A key is written once and never changed. `write` returns when its bytes are durable; until then nothing is
to be seen under the key, and when it raises, never. What was written and is referenced by no row
(its process died in between) is found through `listed` and taken away by the sweep (workers/files.py).
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from core.errors import NotFound, Unavailable

# What is handed to a thread or a socket at once; a reader or writer holds a few of these.
PIECE = 1024 * 1024

_KEY = re.compile(r"[a-z]+(/[a-z0-9_]+)+")


class Stored(NamedTuple):
    """`size` in bytes, `sha256` in hexadecimal."""

    size: int
    sha256: str


class Found(NamedTuple):
    key: str
    modified: datetime


class Storage(Protocol):
    """All raise Unavailable while the store is away."""

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> Stored:
        """Keep what `chunks` gives; durable on return. When it or we raise, nothing is kept."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) as they come, in pieces of a few MiB. Raises NotFound."""

    async def size(self, key: str) -> int | None:
        """In bytes; None when there is nothing under `key`."""

    async def delete(self, *keys: str) -> None:
        """What is not there is deleted already."""

    def listed(self, prefix: str) -> AsyncIterator[Found]:
        """Every key below `prefix`, in any order."""

    async def tidy(self) -> None:
        """Take away what writers that died have left unfinished."""

    async def check(self) -> None:
        """Raises Unavailable when nothing could be written now."""


async def joined(storage: Storage, keys: Sequence[str]) -> AsyncIterator[bytes]:
    """The bytes of several keys, one after the other: what `write` makes one file of.

    They go through us and not by the store's own means of copying, which knows no SHA-256 of the
    whole, and in S3's case takes no part below 5 MiB: a batch writes its output in smaller ones.
    """
    for key in keys:
        async for piece in storage.read(key):
            yield piece


async def batched(found: AsyncIterator[Found], size: int) -> AsyncIterator[list[Found]]:
    """What is listed, so many at a time."""
    batch: list[Found] = []
    async for one in found:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class Measured:
    """Chunks of any size as pieces of PIECE bytes, counted and hashed on their way."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self._size = 0
        self._digest = hashlib.sha256()

    async def pieces(self) -> AsyncIterator[bytes]:
        waiting = bytearray()
        async for chunk in self._chunks:
            waiting += chunk
            while len(waiting) >= PIECE:
                yield await self._passed(bytes(waiting[:PIECE]))
                del waiting[:PIECE]
        if waiting:
            yield await self._passed(bytes(waiting))

    async def _passed(self, piece: bytes) -> bytes:
        self._size += len(piece)
        await asyncio.to_thread(self._digest.update, piece)
        return piece

    @property
    def stored(self) -> Stored:
        return Stored(self._size, self._digest.hexdigest())


def checked(key: str) -> str:
    """Keys are made by us, never by a client; this is what keeps it so."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key!r}")
    return key


def missing() -> NotFound:
    return NotFound("The content of this file is gone.", code="content_gone")


def away(why: str) -> Unavailable:
    return Unavailable(f"The file store is away: {why}. Try again.", code="storage_unavailable")
