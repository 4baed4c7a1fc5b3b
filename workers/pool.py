"""The worker's Celery pool: a doorbell is handed to the event loop, and Celery's thread goes on at once.

    Celery's consumer --room?--> Slots: limit - held      (asked before each message is taken)
                      --apply--> Slots.take(work) --> event loop
                      <--wake--- a slot is free again

The jobs live on one event loop anyway. A thread for each, which only waits, costs two hand-overs and a
share of the interpreter lock; and Celery's own thread pool tells its consumer nothing when one is free
again, so that a busy worker would take its next job up to a second late.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from celery.concurrency.base import BasePool, apply_target

log = structlog.get_logger(__name__)


class Slots:
    """How many doorbells of a worker may be answered at once, counted over Celery's thread and the loop."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        self.limit = limit
        self._loop = loop
        self._held = 0
        self._changed = threading.Condition()
        # Written by the loop, read by Celery's poller.
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def room(self) -> int:
        return max(self.limit - self._held, 0)

    def take(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` on the loop; it holds a slot until it ends. Returns at once, from any thread."""
        with self._changed:
            self._held += 1
        asyncio.run_coroutine_threadsafe(self._run(work), self._loop)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            # A doorbell's work may be lost: what it was for is rung for again.
            log.exception("a doorbell was not answered")
        finally:
            with self._changed:
                self._held -= 1
                self._changed.notify_all()
            os.eventfd_write(self.wake, 1)

    def wait_empty(self) -> None:
        """Block until nothing is held."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0)


def of(slots: Slots) -> type[BasePool]:
    """The pool class that Celery makes its one pool from."""

    class Pool(BasePool):  # type: ignore[misc, unused-ignore]
        """Applies on Celery's own thread: the task only calls `slots.take`."""

        body_can_be_buffer = True
        signal_safe = False

        @property
        def num_processes(self) -> int:
            # More than the limit at once is possible for a moment: a doorbell may carry several ids.
            return slots.room

        def on_apply(self, target: Any, args: Any = None, kwargs: Any = None, callback: Any = None,
                     accept_callback: Any = None, **_: Any) -> None:  # fmt: skip
            apply_target(target, args, kwargs, callback, accept_callback)

        def register_with_event_loop(self, loop: Any) -> None:
            loop.add_reader(slots.wake, os.eventfd_read, slots.wake)

        def on_stop(self) -> None:
            """Celery's orderly stop ends here: what was taken is finished or handed back first."""
            slots.wait_empty()

    return Pool
