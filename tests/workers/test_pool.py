"""The pool that hands doorbells to the event loop: what it counts, and that a full one takes nothing more."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from core.config import Settings
from tests.rig import Rig
from tests.waiting import eventually, until
from workers import app
from workers.pool import Slots


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop on a thread, as a worker has."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


def test_a_slot_is_held_until_the_work_ends(loop: asyncio.AbstractEventLoop) -> None:
    slots = Slots(2, loop)
    gate = asyncio.Event()
    for _ in range(3):
        slots.take(gate.wait)  # type: ignore[arg-type]
    # A doorbell may carry more ids than there are slots; there is never less than no room.
    assert slots.room == 0
    loop.call_soon_threadsafe(gate.set)
    slots.wait_empty()
    assert slots.room == 2


def test_work_that_fails_gives_its_slot_back(loop: asyncio.AbstractEventLoop) -> None:
    slots = Slots(1, loop)

    async def fails() -> None:
        raise RuntimeError("scripted")

    slots.take(fails)
    slots.wait_empty()
    assert slots.room == 1


def test_waiting_for_the_end_waits(loop: asyncio.AbstractEventLoop) -> None:
    slots = Slots(1, loop)
    gate = asyncio.Event()
    slots.take(gate.wait)  # type: ignore[arg-type]
    waiter = threading.Thread(target=slots.wait_empty)
    waiter.start()
    assert waiter.is_alive()
    loop.call_soon_threadsafe(gate.set)
    until(lambda: not waiter.is_alive(), "the waiter is told")


async def test_doorbells_for_jobs_that_do_not_exist_give_their_slots_back(rig: Rig) -> None:
    """Far more of them than there are slots: a slot that stayed taken would leave some in the queue."""
    config: Settings = rig.settings()
    bell = app.Bell(app.make(config))
    queue = f"inference.batch.{config.served_name}"
    await bell.ring([(queue, ["job_none", "job_nobody"])] * 200)

    async def taken() -> bool:
        return (await bell.waiting([queue]))[queue] == 0

    await eventually(taken, "the worker has taken every doorbell")
