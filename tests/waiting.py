"""Waits for a condition with a deadline: the only waiting tests do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Return once `condition()` is true. Raises AssertionError with `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(0.01)


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, timeout_s: float = 30.0
) -> T:
    """`until` for a coroutine; returns its first true answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := await condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")
        await asyncio.sleep(0.01)
    return answer
