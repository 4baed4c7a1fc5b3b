"""Much small work of one attempt: many pieces in the engine at once, each kept as it is finished, some together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from core.forever import stopped

T = TypeVar("T")
S = TypeVar("S")

# What is finished waits so long for others to share its transaction.
GATHER_S = 0.05


class Recorder(Generic[T]):
    """`keep(some)`: False when this attempt may keep nothing any more. At most `most` wait to be kept: while the
    database is slow, those who finish wait with it."""

    def __init__(self, keep: Callable[[Sequence[T]], Awaitable[bool]], most: int = 1024) -> None:
        self._keep, self._most = keep, most
        self._waiting: list[T] = []
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._closed = False

    async def add(self, one: T) -> None:
        self._waiting.append(one)
        self._work.set()
        while len(self._waiting) > self._most:
            self._room.clear()
            await self._room.wait()

    def close(self) -> None:
        """No more will come: `run` returns once what waits is kept."""
        self._closed = True
        self._work.set()

    async def run(self) -> None:
        """Until closed, or until this attempt may keep nothing any more."""
        while not (self._closed and not self._waiting):
            await self._work.wait()
            if not self._closed:
                await asyncio.sleep(GATHER_S)
            self._work.clear()
            some, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if self._waiting:
                self._work.set()
            self._room.set()
            if some and not await self._keep(some):
                return


async def each(
    found: AsyncIterator[S],
    work: Callable[[S], Coroutine[Any, Any, None]],
    record: Recorder[T],
    width: int,
) -> bool:
    """`work` on all that is found, so many at once, each adding to `record` what it made. False: it was not all kept.

    Raises what one of them raised; the others are then cancelled.
    """
    recording = asyncio.create_task(record.run())
    running: set[asyncio.Task[None]] = set()
    try:
        async for one in found:
            running.add(asyncio.create_task(work(one)))
            if len(running) >= width:
                running = await _some(running, recording)
            if recording.done():
                break
        while running and not recording.done():
            running = await _some(running, recording)
        early = recording.done()
        record.close()
        await recording
    finally:
        await stopped([*running, recording])
    return not early


async def _some(
    running: set[asyncio.Task[None]], recording: asyncio.Task[None]
) -> set[asyncio.Task[None]]:
    """Wait until some have ended. Raises what one of them raised."""
    await asyncio.wait({*running, recording}, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        if task.done():
            task.result()
    if recording.done():
        recording.result()
    return {task for task in running if not task.done()}
