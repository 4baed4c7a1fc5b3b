"""How many lines of batches may be in the engine, and which: they give way while somebody waits for an answer.

interactive request --start--> Seats.adjust: over the width? the newest lines leave the engine
                    --end----> QUIET_S later: twice as many come back, DOUBLE_S later twice as many again, up to
                               all slots; they go on where they stopped
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Lines that stay beside interactive requests: a batch goes on, and a step of the engine costs little more. Of 2 to
# 8, 6 let a batch finish most lines beside clients whose wait stays within bounds (bench/interactive.py).
BESIDE = 6
# Clients that talk pause between two requests: a width that followed each one would only churn, and each time
# the next would meet a wide step and the narrowing itself.
QUIET_S = 3.0
# Lines that come back read their prompt and their tokens again. All at once they would hold up the next request
# for as long as that takes; and one that comes soon after the last finds short steps. 64 slots take 1.25 s.
DOUBLE_S = 0.25


class Governor:
    """The width by the number of interactive requests and the time since the last. Pure: `now` is given.

    It must be asked when a request begins and when one ends: the quiet begins there.
    """

    def __init__(
        self, slots: int, beside: int = BESIDE, quiet_s: float = QUIET_S, double_s: float = DOUBLE_S
    ) -> None:
        self._slots = slots
        self._beside = min(beside, slots)
        self._quiet_s, self._double_s = quiet_s, double_s
        self._busy = False
        self._last: float | None = None

    def width(self, interactive: int, now: float) -> int:
        if interactive or self._busy:
            self._last = now
        self._busy = interactive > 0
        return self._grown(now)

    def _grown(self, now: float) -> int:
        if self._last is None:
            return self._slots
        quiet_s = now - self._last - self._quiet_s
        width, doublings = self._beside, 1 + quiet_s // self._double_s if quiet_s >= 0 else 0
        while doublings > 0 and width < self._slots:
            width, doublings = 2 * width, doublings - 1
        return min(width, self._slots)

    def wait_s(self, now: float) -> float:
        """Until the width may grow without anybody ending; 0: it is at its full."""
        if self._last is None or self._grown(now) == self._slots:
            return 0.0
        quiet_s = now - self._last - self._quiet_s
        return -quiet_s if quiet_s < 0 else self._double_s - quiet_s % self._double_s


class Seats:
    """Admission of one worker's lines, in the order in which they asked. Lives on its event loop.

    `interactive()`: how many requests of clients that wait this worker runs.
    """

    def __init__(
        self,
        governor: Governor,
        interactive: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._governor, self._interactive, self._clock = governor, interactive, clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._seated: dict[object, asyncio.Task[Any] | None] = {}
        self._leaving: set[object] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def seated(self) -> int:
        return len(self._seated)

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """`work()`, called again after each time it had to leave the engine. It must keep what it has."""
        first = True
        while True:
            seat = await self._seat(front=not first)
            first = False
            task = asyncio.ensure_future(work())
            self._seated[seat] = task
            if seat in self._leaving:
                task.cancel()
            try:
                await asyncio.wait({task})
            finally:
                left = seat in self._leaving
                if not task.done():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                self._seated.pop(seat, None)
                self._leaving.discard(seat)
                self.adjust()
            if not (left and task.cancelled()):
                return task.result()

    async def _seat(self, *, front: bool) -> object:
        self.adjust()
        seat = object()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if front:
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        self._admit(self._width())
        try:
            await future
        except asyncio.CancelledError:
            if future in self._waiting:
                self._waiting.remove(future)
            elif future.done() and not future.cancelled():
                self._granted -= 1
                self.adjust()
            raise
        self._granted -= 1
        self._seated[seat] = None
        return seat

    # Seats given to a waiter that has not run yet.
    _granted = 0

    def _width(self) -> int:
        return self._governor.width(self._interactive(), self._clock())

    def _admit(self, width: int) -> None:
        while self._waiting and len(self._seated) + self._granted < width:
            future = self._waiting.popleft()
            if not future.done():
                self._granted += 1
                future.set_result(None)

    def adjust(self) -> None:
        """Look again: called whenever an interactive request begins or ends, and by our own timer."""
        width = self._width()
        self._admit(width)
        staying = [seat for seat in self._seated if seat not in self._leaving]
        for seat in staying[width:]:
            self._leaving.add(seat)
            if task := self._seated[seat]:
                task.cancel()
        wait_s = self._governor.wait_s(self._clock())
        if self._timer is None and wait_s > 0 and (self._waiting or self._leaving):
            self._timer = asyncio.get_running_loop().call_later(wait_s + 0.01, self._again)

    def _again(self) -> None:
        self._timer = None
        self.adjust()
