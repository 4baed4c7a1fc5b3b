"""Files in a local folder, which api, control and workers share; only this user may read them."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import structlog

from core.errors import NotFound
from core.storage.seam import PIECE, Found, Measured, Stored, away, checked, missing

log = structlog.get_logger(__name__)

T = TypeVar("T")

# A write that nothing was added to for so long belongs to a process that is gone.
ABANDONED_S = 24 * 3600.0
# Beside the keys, which begin with a letter.
WRITING = ".writing"


class Folder:
    """A file is written aside, made durable, and then renamed to its key."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> Stored:
        target, measured = self._path(key), Measured(chunks)
        unfinished = self._root / WRITING / uuid.uuid4().hex
        try:
            file = await self._do(partial(_created, unfinished))
            try:
                async for piece in measured.pieces():
                    await self._do(partial(_put, file, piece))
                await self._do(partial(os.fsync, file.fileno()))
            finally:
                file.close()
            await self._do(partial(_published, unfinished, target))
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
        return measured.stored

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        file = await self._do(partial(_opened, self._path(key)), reading=True)
        try:
            file.seek(start)
            while end is None or start < end:
                wanted = PIECE if end is None else min(PIECE, end - start)
                piece = await self._do(partial(file.read, wanted))
                if not piece:
                    return
                start += len(piece)
                yield piece
        finally:
            file.close()

    async def size(self, key: str) -> int | None:
        try:
            found = await self._do(self._path(key).stat, reading=True)
        except NotFound:
            return None
        return found.st_size

    async def delete(self, *keys: str) -> None:
        for key in keys:
            await self._do(partial(self._path(key).unlink, missing_ok=True))

    async def listed(self, prefix: str) -> AsyncIterator[Found]:
        for found in await self._do(lambda: list(self._walked(prefix))):
            yield found

    async def tidy(self) -> None:
        def unlink() -> None:
            before = time.time() - ABANDONED_S
            for path in (self._root / WRITING).glob("*"):
                if path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
            # Checkpoints are three folders deep, and each folder is used once; the innermost go first.
            for folder in sorted(self._root.glob("*/*/**/"), reverse=True):
                if folder.stat().st_mtime < before:
                    with suppress(OSError):
                        folder.rmdir()

        await self._do(unlink)

    async def check(self) -> None:
        probe = self._root / WRITING / uuid.uuid4().hex

        def touch() -> None:
            _created(probe).close()
            probe.unlink()

        await self._do(touch)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    def _walked(self, prefix: str) -> Iterator[Found]:
        for path in (self._root / prefix).rglob("*"):
            if path.is_dir():
                continue
            try:
                modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except FileNotFoundError:
                continue
            yield Found(path.relative_to(self._root).as_posix(), modified)

    async def _do(self, work: Callable[[], T], *, reading: bool = False) -> T:
        """Run what blocks on a thread; its errors are ours."""
        running = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and its file must not be closed under it.
            await asyncio.wait({running})
            raise
        except OSError as error:
            if reading and isinstance(error, FileNotFoundError):
                raise missing() from error
            log.warning("the file store fails", error=repr(error))
            raise away(os.strerror(error.errno or 0)) from error


def _created(path: Path) -> BinaryIO:
    _made(path.parent)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", 0)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _put(file: BinaryIO, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _published(unfinished: Path, target: Path) -> None:
    """Show a finished file under its key, so that it is there after a power cut too."""
    _made(target.parent)
    unfinished.replace(target)
    _sync(target.parent)


def _made(folder: Path) -> None:
    """Make a folder and those above it, each durably."""
    if folder.is_dir():
        return
    _made(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
