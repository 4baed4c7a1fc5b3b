"""All there is of Celery: the app, its one task, its queues, and how a doorbell is sent.

The settings come from measurements (docs/decisions/0002): acknowledge early, take a message only when a
slot is free, threads. Late acknowledgement crashes Celery 5.7.0 when Redis restarts; the lease covers
what early acknowledgement may lose.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery, signals
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.config import Settings
from core.errors import Unavailable

TASK = "penstock.run"
WEBHOOKS = "webhooks"
_EXCHANGE = Exchange("penstock", type="direct")


@signals.setup_logging.connect  # type: ignore[untyped-decorator, unused-ignore]
def leave_logging(**_: object) -> None:
    """Somebody listens, so Celery leaves the root logger alone: it would mute our INFO lines."""


def queue(name: str) -> Queue:
    return Queue(name, _EXCHANGE, routing_key=name)


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


def register(app: Celery, answer: Callable[[str], None]) -> None:
    """The one task: `answer` gets the id on the doorbell, in a thread of the pool."""

    @app.task(name=TASK)  # type: ignore[untyped-decorator, unused-ignore]
    def run(subject_id: str) -> None:
        answer(subject_id)


class Bell:
    """Sends doorbells from a thread of its own: publishing blocks, and a hung Redis blocks it for seconds."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bell")

    async def ring(self, subjects: Sequence[tuple[str, str]]) -> None:
        """Send (queue, id) pairs. Raises Unavailable: some may be out; ringing twice is harmless."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._send, subjects)

    def _send(self, subjects: Sequence[tuple[str, str]]) -> None:
        try:
            with self._app.producer_pool.acquire(block=True, timeout=5) as producer:
                for name, subject in subjects:
                    self._publish(producer, name, subject)
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

    def _publish(self, producer: Any, name: str, subject: str) -> None:
        self._app.send_task(
            TASK,
            (subject,),
            queue=queue(name),
            producer=producer,
            retry=False,
            ignore_result=True,
        )
