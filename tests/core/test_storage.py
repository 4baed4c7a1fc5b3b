"""One suite for both kinds of store: what is written is whole and durable, or not there at all."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.config import Settings
from core.errors import NotFound, Unavailable
from core.ids import new_id
from core.storage.bucket import PART
from core.storage.folder import ABANDONED_S, WRITING
from core.storage.place import storage_of
from core.storage.seam import PIECE, Found, Storage, joined
from tests.fakes.s3 import S3Server, server
from tests.waiting import until

# Three parts of an upload and something over; not a multiple of anything.
LONG = 3 * PART + 12_345


@dataclass
class Store:
    """A store, and how many unfinished writes lie about in it."""

    storage: Storage
    settings: Settings
    s3: S3Server | None
    folder: Path

    def unfinished(self) -> int:
        if self.s3 is not None:
            return len(self.s3.unfinished())
        return len(list((self.folder / WRITING).glob("*")))


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        settings = Settings(_env_file=None, storage_url=str(tmp_path / "files"))
        return Store(storage_of(settings), settings, None, tmp_path / "files")
    s3: S3Server = request.getfixturevalue("s3")
    settings = s3.settings(prefix=new_id("p"))
    return Store(storage_of(settings), settings, s3, tmp_path)


async def chunks(data: bytes, size: int = 65_537) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


async def whole(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in storage.read(key, start, end)])


async def keys(storage: Storage, prefix: str = "files") -> set[str]:
    return {found.key async for found in storage.listed(prefix)}


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, PART - 1, PART, PART + 1, LONG])
async def test_what_is_written_is_read_back(store: Store, size: int) -> None:
    data = os.urandom(size)
    stored = await store.storage.write("files/a", chunks(data))
    assert stored == (size, hashlib.sha256(data).hexdigest())
    assert await store.storage.size("files/a") == size
    assert await whole(store.storage, "files/a") == data
    assert store.unfinished() == 0


async def test_a_range_is_read_alone(store: Store) -> None:
    data = os.urandom(LONG)
    await store.storage.write("files/a", chunks(data))
    edges = [(0, 1), (1, 2), (PIECE - 1, PIECE + 1), (PART - 3, 2 * PART + 3), (LONG - 1, LONG)]
    for start, end in [*edges, (5, 5), (LONG - 1, LONG + 100), (LONG, LONG + 1)]:
        assert await whole(store.storage, "files/a", start, end) == data[start:end]
    assert await whole(store.storage, "files/a", 7) == data[7:]


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert await store.storage.size("files/a") is None
    with pytest.raises(NotFound, match="gone"):
        await whole(store.storage, "files/a")
    await store.storage.delete("files/a")
    assert await keys(store.storage) == set()


async def test_what_is_deleted_is_gone_and_nothing_else(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.storage.write(f"files/{name}", chunks(name.encode()))
    await store.storage.delete("files/a", "files/c")
    assert await keys(store.storage) == {"files/b"}
    assert await store.storage.size("files/a") is None
    assert await whole(store.storage, "files/b") == b"b"


async def test_a_listing_tells_keys_below_a_prefix_and_their_age(store: Store) -> None:
    await store.storage.write("files/a", chunks(b"a"))
    await store.storage.write("parts/a", chunks(b"a"))
    found: list[Found] = [one async for one in store.storage.listed("files")]
    assert [one.key for one in found] == ["files/a"]
    assert abs((datetime.now(UTC) - found[0].modified).total_seconds()) < 60


async def test_parts_written_one_by_one_become_one_file(store: Store) -> None:
    pieces = [os.urandom(size) for size in (10, PART + 7, 1, 2 * PIECE)]
    names = [f"parts/{number}" for number in range(len(pieces))]
    for name, piece in zip(names, pieces, strict=True):
        await store.storage.write(name, chunks(piece))
    order = [names[2], names[0], names[3], names[1]]
    data = pieces[2] + pieces[0] + pieces[3] + pieces[1]
    stored = await store.storage.write("files/a", joined(store.storage, order))
    assert stored == (len(data), hashlib.sha256(data).hexdigest())
    assert await whole(store.storage, "files/a") == data
    with pytest.raises(NotFound):
        await store.storage.write("files/b", joined(store.storage, [names[1], "parts/none"]))
    assert await keys(store.storage) == {"files/a"}


@pytest.mark.parametrize("size", [10, LONG])
async def test_a_source_that_breaks_off_leaves_nothing(store: Store, size: int) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for chunk in chunks(os.urandom(size)):
            yield chunk
        raise EOFError("the client is gone")

    with pytest.raises(EOFError):
        await store.storage.write("files/a", breaking())
    assert await keys(store.storage) == set()
    assert store.unfinished() == 0


@pytest.mark.parametrize("size", [10, LONG])
async def test_a_write_that_is_cancelled_leaves_nothing(store: Store, size: int) -> None:
    waiting = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        async for chunk in chunks(os.urandom(size)):
            yield chunk
        waiting.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(store.storage.write("files/a", endless()))
    await waiting.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await keys(store.storage) == set()
    assert store.unfinished() == 0


async def test_many_write_and_read_at_once(store: Store) -> None:
    data = {f"files/{number}": os.urandom(PART + number) for number in range(8)}
    await asyncio.gather(*(store.storage.write(k, chunks(v)) for k, v in data.items()))
    read = await asyncio.gather(*(whole(store.storage, key) for key in data))
    assert read == list(data.values())


WRITER = """
import asyncio, os, sys
from core.config import settings
from core.storage.place import storage_of

async def endless():
    for _ in range(20):
        yield os.urandom(1024 * 1024)
    print("writing", flush=True)
    await asyncio.Event().wait()

asyncio.run(storage_of(settings()).write("files/a", endless()))
"""


def _write_and_be_killed(store: Store) -> None:
    env = os.environ | {
        "PENSTOCK_STORAGE_URL": store.settings.storage_url,
        "PENSTOCK_S3_ENDPOINT": store.settings.s3_endpoint,
        "AWS_ACCESS_KEY_ID": store.settings.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.settings.aws_secret_access_key,
        "AWS_REGION": store.settings.aws_region,
    }
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        until(lambda: store.unfinished() > 0, "bytes to arrive")
        writer.send_signal(signal.SIGKILL)


async def test_a_writer_that_is_killed_leaves_nothing_to_see(store: Store) -> None:
    await asyncio.to_thread(_write_and_be_killed, store)
    assert await keys(store.storage) == set()
    assert await store.storage.size("files/a") is None
    # And the key is free for the next attempt.
    await store.storage.write("files/a", chunks(b"again"))
    assert await whole(store.storage, "files/a") == b"again"
    if store.s3 is not None:
        for path in store.s3.unfinished():
            path.unlink()


async def test_what_a_dead_writer_left_in_the_folder_is_tidied_up(tmp_path: Path) -> None:
    storage = storage_of(Settings(_env_file=None, storage_url=f"file://{tmp_path}"))
    await storage.write("files/a", chunks(b"a"))
    left, fresh = tmp_path / WRITING / "left", tmp_path / WRITING / "fresh"
    for path in (left, fresh):
        path.write_bytes(b"half")
    then = time.time() - ABANDONED_S - 1
    os.utime(left, (then, then))
    await storage.tidy()
    assert list((tmp_path / WRITING).iterdir()) == [fresh]
    assert await keys(storage) == {"files/a"}


async def test_files_in_the_folder_are_for_their_owner_only(tmp_path: Path) -> None:
    storage = storage_of(Settings(_env_file=None, storage_url=str(tmp_path / "deep" / "down")))
    await storage.write("files/a", chunks(b"a"))
    for path in (tmp_path / "deep").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("key", ["", "a", "../a", "files/../a", "/files/a", "files/", "files/A b"])
async def test_a_key_that_could_lead_elsewhere_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        await store.storage.size(key)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    storage = storage_of(Settings(_env_file=None, storage_url=str(tmp_path / "taken")))
    with pytest.raises(Unavailable, match="File exists"):
        await storage.check()
    with pytest.raises(Unavailable, match="File exists"):
        await storage.write("files/a", chunks(b"a"))


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3Server]:
    """A server that may be killed."""
    made = server(tmp_path)
    made.part.start()
    yield made
    made.part.kill()


@pytest.mark.fault
async def test_a_store_that_is_away_is_unavailable_and_comes_back(own_s3: S3Server) -> None:
    storage = storage_of(own_s3.settings())
    await storage.check()
    await storage.write("files/a", chunks(b"a"))
    own_s3.part.kill()
    asks: list[Callable[[], Awaitable[object]]] = [
        storage.check,
        lambda: storage.size("files/a"),
        lambda: whole(storage, "files/a"),
        lambda: keys(storage),
        lambda: storage.delete("files/a"),
        lambda: storage.write("files/b", chunks(b"b")),
        lambda: storage.write("files/c", chunks(os.urandom(LONG))),
    ]
    for ask in asks:
        with pytest.raises(Unavailable, match="The file store is away"):
            await ask()
    own_s3.part.start()
    assert await whole(storage, "files/a") == b"a"
    assert await keys(storage) == {"files/a"}


@pytest.mark.fault
async def test_a_store_that_dies_in_the_middle_of_a_write_fails_it(own_s3: S3Server) -> None:
    storage = storage_of(own_s3.settings())

    async def dying() -> AsyncIterator[bytes]:
        async for chunk in chunks(os.urandom(LONG)):
            yield chunk
        own_s3.part.kill()
        async for chunk in chunks(os.urandom(LONG)):
            yield chunk

    with pytest.raises(Unavailable):
        await storage.write("files/a", dying())
    own_s3.part.start()
    assert await storage.size("files/a") is None


@pytest.mark.parametrize("wrong", [{"secret": "wrong"}, {"bucket": "nowhere"}])
async def test_a_wrong_secret_or_bucket_is_unavailable(s3: S3Server, wrong: dict[str, str]) -> None:
    storage = storage_of(s3.settings(**wrong))
    with pytest.raises(Unavailable, match="The file store is away"):
        await storage.check()
    with pytest.raises(Unavailable) as refused:
        await storage.write("files/a", chunks(b"a"))
    assert "wrong" not in refused.value.message
