"""Who may be in the engine: lines give way to interactive requests and come back, without losing or doubling work."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import eventually
from workers.seats import BESIDE, Governor, Seats


def test_the_width_follows_interactive_requests() -> None:
    governor = Governor(64, beside=2, quiet_s=0.5, double_s=0.25)
    assert governor.width(0, 9.0) == 64, "nobody was ever here"
    assert governor.width(1, 10.0) == 2
    assert governor.width(1, 10.4) == 2
    assert governor.width(0, 14.0) == 2, "it ended just now, however long ago it began"
    assert governor.width(0, 14.4) == 2, "a pause between two requests is no quiet"
    assert governor.wait_s(14.4) == pytest.approx(0.1)
    assert Governor(1, beside=2).width(1, 0.0) == 1


def test_after_the_quiet_the_width_doubles_until_it_is_full() -> None:
    governor = Governor(64, beside=2, quiet_s=0.5, double_s=0.25)
    governor.width(1, 10.0)
    governor.width(0, 10.0)
    now, widths = 10.0, []
    while wait_s := governor.wait_s(now):
        now += wait_s + 1e-9
        widths.append(governor.width(0, now))
    assert widths == [4, 8, 16, 32, 64]
    assert now == pytest.approx(11.5)
    governor.width(2, now)
    assert governor.width(1, now + 5) == 2


class Engine:
    """Work that says one number after another, and goes on where it was stopped."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.said: dict[int, list[int]] = {}
        self.stopped = 0
        self.go = asyncio.Event()

    async def work(self, name: int) -> int:
        said = self.said.setdefault(name, [])
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            while len(said) < 5:
                await self.go.wait()
                said.append(len(said))
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        finally:
            self.inside -= 1
        return name


async def test_lines_leave_the_engine_and_go_on_where_they_stopped() -> None:
    engine, interactive = Engine(), 0
    seats = Seats(Governor(8, beside=2, quiet_s=0.05, double_s=0.05), lambda: interactive)
    tasks = [asyncio.create_task(seats.run(partial(engine.work, n))) for n in range(20)]

    async def inside() -> bool:
        return engine.inside == 8

    await eventually(inside, "never full")
    interactive = 1
    seats.adjust()

    async def narrow() -> bool:
        return engine.inside == 2

    await eventually(narrow, "never narrow")
    assert engine.stopped == 6
    interactive = 0
    seats.adjust()
    await eventually(inside, "never full again, though nobody told it so")
    engine.go.set()
    assert await asyncio.gather(*tasks) == list(range(20))
    assert all(said == [0, 1, 2, 3, 4] for said in engine.said.values())
    assert engine.most == 8
    assert seats.seated == 0


async def test_an_error_and_a_cancelled_line_give_their_seat_back() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    seats = Seats(Governor(1), lambda: 0)
    stuck = asyncio.create_task(seats.run(asyncio.Event().wait))
    waiting = asyncio.create_task(seats.run(asyncio.Event().wait))
    failed = asyncio.create_task(seats.run(broken))

    async def seated() -> bool:
        return seats.seated == 1

    await eventually(seated, "nobody has the seat")
    waiting.cancel()
    stuck.cancel()
    result = await asyncio.gather(stuck, waiting, failed, return_exceptions=True)
    assert isinstance(result[2], ValueError)
    assert seats.seated == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2)), max_size=50))
def test_the_width_is_never_over_the_slots_nor_zero(steps: list[tuple[int, float]]) -> None:
    governor, now = Governor(16), 0.0
    for interactive, passed in steps:
        now += passed
        assert 1 <= governor.width(interactive, now) <= 16
        assert interactive == 0 or governor.width(interactive, now) == BESIDE
