"""Loops that must not end: run again after an error, with a pause that grows, and say so; and their end."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

log = structlog.get_logger(__name__)


async def forever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run `loop`; when it raises, log it and run it again after 0.1 s, doubling to 2 s."""
    pause = 0.1
    while True:
        began = asyncio.get_running_loop().time()
        try:
            return await loop()
        except Exception as error:
            log.warning("loop failed; again soon", loop=name, error=repr(error), pause_s=pause)
        if asyncio.get_running_loop().time() - began > 10:
            pause = 0.1
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)


async def stopped(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel these tasks and return once all have ended, however they did.

    Asked again until they have: a cancellation that arrives while redis-py finishes a command can be lost,
    and a loop that waits for its next turn then would hold up the end of the process for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=0.2)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that it is not told of as never retrieved
