"""The adapters of one engine: fetched and verified, loaded once for all who ask, none let go while one is used.

    held(digest) --room?--> a place: fetch --> adapt --> used by any number of requests --> idle, least recently
          |                                                                                 used first, until its
          '--none: wait in turn                                                              place is needed

vLLM would load and evict by itself, within a step: an adapter that cannot be read then kills the engine with
everybody in it (docs/decisions/0017).
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.catalog import artifacts
from core.catalog.artifacts import ArtifactBroken
from core.config import Settings
from core.db.session import Database
from core.errors import NotFound, Refused
from core.storage.seam import Storage
from workers.engine import Engine

log = structlog.get_logger(__name__)

_LOCK = ".lock"


@dataclass(eq=False)
class _Place:
    """One of the engine's: whose it is, how many requests use it, and the load that all of them wait for."""

    digest: str
    load: asyncio.Task[None]
    users: int = 0


class Adapters:
    """Lives on the worker's event loop; whatever loads or lets go an adapter of its engine goes through here."""

    def __init__(
        self, engine: Engine, settings: Settings, database: Database, storage: Storage
    ) -> None:
        self._engine, self._db, self._storage = engine, database, storage
        self._count = settings.engine_loras
        self._copies = Copies(Path(settings.adapter_dir), int(settings.adapter_dir_gb * 2**30))
        # The least recently used first.
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._waiting: deque[tuple[str, asyncio.Future[_Place]]] = deque()
        # What is on its way out of the engine: whoever asks for it again waits until it is.
        self._leaving: dict[str, asyncio.Task[None]] = {}

    @property
    def loaded(self) -> list[str]:
        """The least recently used first."""
        return list(self._places)

    @contextlib.asynccontextmanager
    async def held(self, digest: str) -> AsyncIterator[None]:
        """The adapter is in the engine meanwhile; the empty digest is the model without any.

        Raises ArtifactBroken naming the file that is missing or differs, AdapterBroken for one that this engine
        cannot apply, Unavailable while the store is away.
        """
        if not digest:
            yield
            return
        place = await self._placed(digest)
        try:
            # Whoever leaves must not take the others' load along.
            await asyncio.shield(place.load)
            yield
        finally:
            self._release(place)

    async def _placed(self, digest: str) -> _Place:
        if not self._count:
            raise Refused(
                "This worker serves no adapters: PENSTOCK_ENGINE_LORAS is 0", code="adapters_off"
            )
        # In turn, also those whose adapter is there: a popular one would keep the others out for ever.
        if not self._waiting and (place := self._take(digest)) is not None:
            return place
        future: asyncio.Future[_Place] = asyncio.get_running_loop().create_future()
        self._waiting.append((digest, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(future.result())
            else:
                self._admit()
            raise

    def _take(self, digest: str) -> _Place | None:
        """A place for one more request; None while all are used by others."""
        place = self._places.get(digest)
        if place is None:
            before = [self._leaving[digest]] if digest in self._leaving else []
            if len(self._places) >= self._count:
                idle = next((p for p in self._places.values() if not p.users), None)
                if idle is None:
                    return None
                before.append(self._send_away(idle))
            place = _Place(digest, asyncio.create_task(self._load(digest, before)))
            place.load.add_done_callback(lambda _: self._loaded(place))
            self._places[digest] = place
        place.users += 1
        self._places.move_to_end(digest)
        return place

    def _send_away(self, place: _Place) -> asyncio.Task[None]:
        del self._places[place.digest]
        task = self._leaving[place.digest] = asyncio.create_task(self._forget(place))

        def gone(_: asyncio.Task[None]) -> None:
            if self._leaving.get(place.digest) is task:
                del self._leaving[place.digest]

        task.add_done_callback(gone)
        return task

    async def _forget(self, place: _Place) -> None:
        # Everybody may have left it while it was still on its way in.
        await asyncio.wait({place.load})
        if _went_well(place.load):
            await self._engine.forget(place.digest)

    def _release(self, place: _Place) -> None:
        place.users -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            digest, future = self._waiting[0]
            # Done: cancelled with the request that waited.
            if not future.done():
                if (place := self._take(digest)) is None:
                    return
                future.set_result(place)
            self._waiting.popleft()

    def _loaded(self, place: _Place) -> None:
        """Whoever asks next for one that was not loaded begins anew."""
        if not _went_well(place.load):
            if self._places.get(place.digest) is place:
                del self._places[place.digest]
            self._admit()

    async def _load(self, digest: str, before: list[asyncio.Task[None]]) -> None:
        began = time.monotonic()
        await asyncio.gather(*before)
        try:
            async with self._db.single() as session:
                artifact = await artifacts.get(session, digest)
        except NotFound as error:
            raise ArtifactBroken(error.message) from error
        async with self._copies.reading():
            folder = await artifacts.fetch(self._storage, artifact, self._copies.root)
            await self._engine.adapt(digest, folder)
        log.info("adapter loaded", adapter=digest, seconds=round(time.monotonic() - began, 3))
        await self._copies.used(folder)


def _went_well(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None


class Copies:
    """Adapters' files on this host, shared by its workers and bounded: beyond it the least recently used go."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root.expanduser().absolute()
        self._max = max_bytes

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """No worker of this host takes a copy away meanwhile."""
        self.root.mkdir(parents=True, exist_ok=True)
        with _open(self.root / _LOCK) as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_SH)
            yield

    async def used(self, folder: Path) -> None:
        """Note it, and take the oldest away where there are too many bytes."""
        await asyncio.to_thread(self._used, folder)

    def _used(self, folder: Path) -> None:
        with _open(self.root / _LOCK) as lock:
            with contextlib.suppress(FileNotFoundError):
                os.utime(folder)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Somebody loads one: the next look sees to it.
                return
            found = [(p.stat().st_mtime, _size(p), p) for p in self.root.iterdir() if p.is_dir()]
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found):
                # Hidden ones were left by a process that was killed: whoever writes one holds the lock.
                if path.name.startswith(".") or (total > self._max and path != folder):
                    shutil.rmtree(path, ignore_errors=True)
                    total -= size


@contextlib.contextmanager
def _open(path: Path) -> Iterator[int]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
