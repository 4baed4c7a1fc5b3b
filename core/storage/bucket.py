"""Files as objects below a prefix of an S3 bucket; each appears when its last part is acknowledged."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store

from core.config import Settings
from core.errors import NotFound
from core.storage.seam import PIECE, Found, Measured, Stored, away, checked, missing

log = structlog.get_logger(__name__)

# S3 takes no smaller part but the last, and at most 10,000 of them: 50 GB. A writer holds four of them.
PART = 5 * 1024 * 1024
# A request each, so not too small.
READ = 2 * PIECE
ABORT_S = 10.0

_Queue = asyncio.Queue[bytes | Exception | None]


class _Cut(Exception):
    """Tells the writing side that no more will come, so that it takes back what it sent."""


def store_of(settings: Settings, bucket: str, prefix: str = "") -> S3Store:
    given: dict[str, Any] = {
        "prefix": prefix,
        "endpoint": settings.s3_endpoint,
        "access_key_id": settings.aws_access_key_id,
        "secret_access_key": settings.aws_secret_access_key,
        "region": settings.aws_region,
    }
    return S3Store(
        bucket,
        # For one request, which is short whatever the size of the file: a part, or a piece.
        client_options={
            "connect_timeout": "2s",
            "timeout": "30s",
            "allow_http": settings.s3_endpoint.startswith("http://"),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
        # What is not set is left to the library: a host's role, web identity.
        **{name: value for name, value in given.items() if value},
    )


class Bucket:
    """s3://bucket/prefix; keys and region as the settings or the environment of a host say."""

    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.storage_url)
        self._store = store_of(settings, url.netloc, url.path.strip("/"))

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> Stored:
        measured = Measured(chunks)
        first, rest = bytearray(), aiter(measured.pieces())
        while len(first) < PART and (piece := await anext(rest, None)) is not None:
            first += piece
        if len(first) < PART:
            with told():
                await obstore.put_async(self._store, checked(key), bytes(first))
        else:
            await self._in_parts(checked(key), bytes(first), rest)
        return measured.stored

    async def _in_parts(self, key: str, first: bytes, rest: AsyncIterator[bytes]) -> None:
        """A multipart upload: completed or, when we are cut off, aborted."""
        queue: _Queue = asyncio.Queue(1)
        putting = asyncio.ensure_future(
            obstore.put_async(
                self._store, key, _taken(queue),
                use_multipart=True, chunk_size=PART, max_concurrency=2,
            )
        )  # fmt: skip
        try:
            await _hand(queue, first, putting)
            del first
            async for piece in rest:
                await _hand(queue, piece, putting)
            await _hand(queue, None, putting)
            with told():
                await asyncio.shield(putting)
        except BaseException:
            await _abort(queue, putting)
            raise

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        size = await self.size(key)
        if size is None:
            raise missing()
        end = size if end is None else min(end, size)
        # A request a piece, not one for all: a slow reader holds no connection, and outlives a
        # restart of the store.
        while start < end:
            until = min(end, start + READ)
            with told(reading=True):
                piece = await obstore.get_range_async(
                    self._store, checked(key), start=start, end=until
                )
            start = until
            yield bytes(piece)

    async def size(self, key: str) -> int | None:
        try:
            with told(reading=True):
                return int((await obstore.head_async(self._store, checked(key)))["size"])
        except NotFound:
            return None

    async def delete(self, *keys: str) -> None:
        with told():
            await obstore.delete_async(self._store, [checked(key) for key in keys])

    async def listed(self, prefix: str) -> AsyncIterator[Found]:
        with told():
            async for page in obstore.list(self._store, prefix):
                for found in page:
                    yield Found(found["path"], found["last_modified"])

    async def tidy(self) -> None:
        """Parts of uploads never completed are the bucket's own to clear: docs/decisions/0008."""

    async def check(self) -> None:
        with told():
            async for _ in obstore.list(self._store, "check"):
                return


async def _taken(queue: _Queue) -> AsyncIterator[bytes]:
    while (item := await queue.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item


async def _hand(queue: _Queue, piece: bytes | None, putting: asyncio.Future[Any]) -> None:
    """Wait for room; or for the writer's end, after which nobody would make room."""
    handing = asyncio.ensure_future(queue.put(piece))
    try:
        await asyncio.wait({handing, putting}, return_when=asyncio.FIRST_COMPLETED)
        if putting.done() and piece is not None:
            with told():
                await putting
    finally:
        handing.cancel()


async def _abort(queue: _Queue, putting: asyncio.Future[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(_Cut())
    done, _ = await asyncio.wait({putting}, timeout=ABORT_S)
    if done and (error := putting.exception()) is not None:
        log.info("an upload was taken back", error=repr(error).partition("\n")[0])


@contextmanager
def told(*, reading: bool = False) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except (BaseError, OSError) as error:
        if reading and isinstance(error, FileNotFoundError):
            raise missing() from error
        # Its text names hosts and buckets: for the log, not for a client.
        log.warning("the file store fails", error=str(error).partition("\n")[0])
        raise away("it does not answer as it should") from error
