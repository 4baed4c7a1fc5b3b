"""Loops that end when they are told to, whatever became of the first telling."""

import asyncio

from core.forever import stopped


async def test_a_task_that_lost_its_cancellation_is_cancelled_again() -> None:
    begun, lost = asyncio.Event(), []

    async def deaf() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append("once")
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await begun.wait()
    await stopped([task])
    assert task.cancelled()
    assert lost == ["once"]


async def test_one_that_fails_while_it_ends_holds_nobody_up() -> None:
    begun = asyncio.Event()

    async def failing() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError("at the end")

    async def waiting() -> None:
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(failing()), asyncio.create_task(waiting())]
    await begun.wait()
    await stopped(tasks)
    assert all(task.done() for task in tasks)
