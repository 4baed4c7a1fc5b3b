"""Waits for a condition with a deadline: the only waiting tests do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
# A wait that is in vain ends here. Costs nothing where all is well, however many others want the cores: what has to be
# quick has a limit of its own in its test.
PATIENCE_S = 90.0


def until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return once `condition()` is true. Raises AssertionError with `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(0.01)


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, timeout_s: float = PATIENCE_S
) -> T:
    """`until` for a coroutine; returns its first true answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := await condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")
        await asyncio.sleep(0.01)
    return answer
