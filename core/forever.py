"""Loops that must not end: run again after an error, with a pause that grows, and say so."""

import asyncio
from collections.abc import Awaitable, Callable

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
