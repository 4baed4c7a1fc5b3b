"""All there is of Celery: the app, its one task, its queues, how a doorbell is sent and how a worker runs.

The settings come from measurements (docs/decisions/0002): acknowledge early, take a message only when a
slot is free, jobs on one event loop (workers/pool.py). Late acknowledgement crashes Celery 5.7.0 when
Redis restarts; the lease covers what early acknowledgement may lose.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from celery import Celery, signals
from celery.worker.request import Request
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.config import Settings
from core.errors import Unavailable
from workers import pool
from workers.pool import Slots

TASK = "penstock.run"
WEBHOOKS = "webhooks"
_EXCHANGE = Exchange("penstock", type="direct")


@signals.setup_logging.connect  # type: ignore[untyped-decorator, unused-ignore]
def leave_logging(**_: object) -> None:
    """Somebody listens, so Celery leaves the root logger alone: it would mute our INFO lines."""


class _Taken(Request):  # type: ignore[misc, unused-ignore]
    """kombu acknowledges to Redis also what was never kept there: two more round trips a message."""

    def acknowledge(self) -> None:
        self.acknowledged = True


def queue(name: str) -> Queue:
    """`no_ack`: with early acknowledgement a message is as good as gone when it is taken, and keeping
    it beside the queue until then would cost two commands of Redis for each."""
    return Queue(name, _EXCHANGE, routing_key=name, no_ack=True)


def make(settings: Settings, queues: Sequence[str] = ()) -> Celery:
    """The app of a process; `queues` only for a worker, in the order in which it takes from them."""
    app = Celery("penstock", broker=settings.broker_url)
    app.conf.update(
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        task_reject_on_worker_lost=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=False,
        task_queues=[queue(name) for name in queues],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "queue_order_strategy": "priority",
            "visibility_timeout": 3600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # kombu waits for ever on a hung Redis without these two.
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "penstock:celery:",
        },
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def work(
    app: Celery, queues: Sequence[str], slots: Slots, answer: Callable[[str], Awaitable[None]]
) -> None:
    """Take doorbells until told to stop; `answer` gets each id, on the event loop of `slots`.

    Blocks the main thread, which Celery needs for its signals. Returns after an orderly stop, when
    everything that was taken has been answered.
    """

    @app.task(name=TASK, Request=_Taken)  # type: ignore[untyped-decorator, unused-ignore]
    def run(*subjects: str) -> None:
        for subject in subjects:
            slots.take(partial(answer, subject))

    app.Worker(
        hostname=f"penstock-{os.getpid()}@%h",
        pool_cls=pool.of(slots),
        concurrency=slots.limit,
        queues=list(queues),
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()


class Bell:
    """Sends doorbells from a thread of its own: publishing blocks, and a hung Redis blocks it for seconds."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bell")

    async def ring(self, doorbells: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Send a message for each (queue, ids). Raises Unavailable: some may be out; ringing twice is
        harmless."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._send, doorbells)

    def _send(self, doorbells: Sequence[tuple[str, Sequence[str]]]) -> None:
        try:
            with self._app.producer_pool.acquire(block=True, timeout=5) as producer:
                for name, subjects in doorbells:
                    self._publish(producer, name, subjects)
        except (OperationalError, RedisError, OSError) as error:
            raise Unavailable(f"Redis did not take a doorbell: {error!r}") from error

    async def waiting(self, names: Sequence[str]) -> dict[str, int]:
        """How many doorbells each of these queues holds. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._count, names)

    def _count(self, names: Sequence[str]) -> dict[str, int]:
        try:
            with self._app.connection_for_write() as connection:
                channel = connection.default_channel
                return {n: int(queue(n)(channel).queue_declare().message_count) for n in names}
        except (OperationalError, RedisError, OSError) as error:
            raise Unavailable(f"Redis did not count its doorbells: {error!r}") from error

    def _publish(self, producer: Any, name: str, subjects: Sequence[str]) -> None:
        self._app.send_task(
            TASK,
            list(subjects),
            queue=queue(name),
            producer=producer,
            retry=False,
            ignore_result=True,
        )
