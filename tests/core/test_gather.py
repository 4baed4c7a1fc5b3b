"""Concurrent calls share one statement: each gets its own answer, an error is everyone's."""

import asyncio
from collections.abc import Sequence

import pytest

from core.db.gather import Gather


class Together:
    """Doubles numbers, a batch at a time, each batch when it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]


async def test_one_alone_leaves_at_once_and_those_after_it_leave_together() -> None:
    together = Together()
    gather = Gather(together, 64)
    first = asyncio.create_task(gather(1))
    await together.begun.wait()
    rest = [asyncio.create_task(gather(n)) for n in (2, 3, 4)]
    # One turn of the loop: all three are in.
    await asyncio.gather(*(asyncio.create_task(_turn()) for _ in range(3)))
    together.gate.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert together.batches == [[1], [2, 3, 4]]


async def _turn() -> None:
    """Nothing, for one turn of the loop."""


async def test_a_batch_has_no_more_than_the_limit() -> None:
    together = Together()
    together.gate.set()
    gather = Gather(together, 10)
    assert await asyncio.gather(*(gather(n) for n in range(95))) == [2 * n for n in range(95)]
    assert max(map(len, together.batches)) <= 10
    assert sorted(n for batch in together.batches for n in batch) == list(range(95))


async def test_what_items_weigh_is_within_the_limit_and_a_heavy_one_leaves_alone() -> None:
    together = Together()
    gather = Gather(together, 10, weigh=lambda number: number)
    first = asyncio.create_task(gather(1))
    await together.begun.wait()
    rest = [asyncio.create_task(gather(n)) for n in (4, 6, 1, 50, 9, 1)]
    await asyncio.gather(*(asyncio.create_task(_turn()) for _ in rest))
    together.gate.set()
    assert await asyncio.gather(first, *rest) == [2, 8, 12, 2, 100, 18, 2]
    assert together.batches == [[1], [4, 6], [1], [50], [9, 1]]


async def test_an_error_reaches_everyone_of_its_batch_and_nobody_else() -> None:
    together = Together()
    together.gate.set()
    together.error = RuntimeError("no")
    gather = Gather(together, 64)
    said = await asyncio.gather(*(gather(n) for n in range(5)), return_exceptions=True)
    assert all(isinstance(one, RuntimeError) for one in said)
    together.error = None
    assert await gather(7) == 14


async def test_a_caller_that_leaves_does_not_disturb_the_others() -> None:
    together = Together()
    gather = Gather(together, 64)
    leaving, staying = asyncio.create_task(gather(1)), asyncio.create_task(gather(2))
    await together.begun.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    together.gate.set()
    assert await staying == 4
    assert await gather(3) == 6


async def test_a_caller_that_gave_up_takes_its_item_back() -> None:
    together = Together()
    gather = Gather(together, 64)
    first = asyncio.create_task(gather(1))
    await together.begun.wait()
    rest = [asyncio.create_task(gather(n)) for n in (2, 3)]
    await asyncio.gather(*(asyncio.create_task(_turn()) for _ in range(2)))
    rest[0].cancel()
    together.gate.set()
    assert list(await asyncio.gather(first, rest[1])) == [2, 6]
    assert rest[0].cancelled()
    assert together.batches == [[1], [3]]
