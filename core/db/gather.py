"""Group commit in the application: concurrent calls of one verb share one statement."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gather(Generic[T, R]):
    """`await gather(item)` runs `together([item, ...])` with whatever else arrived meanwhile.

    Nothing waits for company: a lone item leaves at once, and those that arrive while a batch is under
    way leave as the next one. `together` answers in the order of its items; its error is everyone's.
    A caller that is cancelled before its item left takes it back. So many leave together that what they
    `weigh` is within `limit`, and one at least.
    """

    def __init__(
        self,
        together: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        limit: int,
        weigh: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._together = together
        self._limit = limit
        self._weigh = weigh
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                waiting = [entry for entry in self._waiting if not entry[1].done()]
                count = self._fitting(waiting)
                batch, self._waiting = waiting[:count], waiting[count:]
                if not batch:
                    return
                try:
                    answers = await self._together([item for item, _ in batch])
                except Exception as error:  # noqa: BLE001, RUF100 - whatever it is belongs to the callers
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            self._task = None

    def _fitting(self, waiting: Sequence[tuple[T, asyncio.Future[R]]]) -> int:
        """How many of these leave together."""
        weight = 0
        for count, (item, _) in enumerate(waiting):
            weight += self._weigh(item)
            if count and weight > self._limit:
                return count
        return len(waiting)
