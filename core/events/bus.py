"""The Kafka seam: publish with acknowledgement, poll, commit after the effect.

kafka-python's calls block, so each runs in a thread of its own. The producer is disposable: after a
broker lost its log an idempotent producer never recovers, a fresh one works at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import structlog
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import CommitFailedError, KafkaError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from core.config import Settings
from core.errors import Unavailable

log = structlog.get_logger(__name__)

EVENTS = "penstock.events"
# kafka-python's own pauses grow to 30 s each: a broker that is back would be found half a minute late,
# and the relay waits for it inside a transaction.
_LINK = {"bootstrap_timeout_ms": 5000, "reconnect_backoff_max_ms": 1000}
# A topic that a client makes by asking for it has none of our settings.
_TOPICS = {"allow_auto_create_topics": False}
# Longer than a record may take to be delivered or given up: a producer with records still in it cannot
# be closed, and its thread would stay for ever.
DELIVERY_S = 5.0
FLUSH_S = DELIVERY_S + 1.0


def jobs_topic(kind: str) -> str:
    return f"penstock.jobs.{kind}"


class Record(NamedTuple):
    topic: str
    key: str
    value: bytes
    headers: dict[str, str]


class Publisher(Protocol):
    async def publish(self, records: Sequence[Record]) -> None:
        """Return once every record is acknowledged. Raises Unavailable: some may be out, send all again."""

    async def close(self) -> None: ...


class Subscription(Protocol):
    async def poll(self, timeout_s: float) -> list[Record]:
        """What has come, waiting up to `timeout_s` for the first record; [] also when the broker is down."""

    async def commit(self) -> None:
        """Mark everything polled as done. A lost group membership is not an error: it comes again."""

    async def close(self) -> None: ...


class Producer:
    """A Publisher over kafka-python's idempotent producer.

    `prepare` runs before each (re)connect, in its thread: a broker that lost its log lost its topics too.
    """

    def __init__(self, settings: Settings, prepare: Callable[[], None]) -> None:
        self._servers = settings.kafka_bootstrap_servers.split(",")
        self._prepare = prepare
        self._producer: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-producer")

    async def publish(self, records: Sequence[Record]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._publish, records)

    def _publish(self, records: Sequence[Record]) -> None:
        try:
            if self._producer is None:
                self._prepare()
                self._producer = KafkaProducer(
                    bootstrap_servers=self._servers,
                    acks="all",
                    enable_idempotence=True,
                    # send() waits this long for a topic's metadata, then raises.
                    max_block_ms=5000,
                    request_timeout_ms=int(DELIVERY_S * 800),
                    delivery_timeout_ms=int(DELIVERY_S * 1000),
                    **_LINK,
                    **_TOPICS,
                )
            sent = [
                self._producer.send(
                    r.topic,
                    r.value,
                    r.key.encode(),
                    [(k, v.encode()) for k, v in r.headers.items()],
                )
                for r in records
            ]
            self._producer.flush(timeout=FLUSH_S)
            for future in sent:
                future.get(timeout=0)
        except (KafkaError, AssertionError, OSError) as error:
            self._drop()
            raise Unavailable(f"Kafka did not take the records: {error!r}") from error

    def _drop(self) -> None:
        if self._producer is not None:
            broken, self._producer = self._producer, None
            try:
                broken.close(timeout=0)
            except KafkaError:
                log.debug("producer closed with records unsent; they are sent again")

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)


class Consumer:
    """A Subscription over a kafka-python consumer group."""

    def __init__(self, settings: Settings, topics: Sequence[str], group: str) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._consumer: Any = None
        self._done: dict[Any, OffsetAndMetadata] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"kafka-{group}")

    async def poll(self, timeout_s: float) -> list[Record]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._poll, timeout_s)

    def _poll(self, timeout_s: float) -> list[Record]:
        try:
            if self._consumer is None:
                self._consumer = KafkaConsumer(
                    *self._topics,
                    bootstrap_servers=self._settings.kafka_bootstrap_servers.split(","),
                    group_id=self._group,
                    # Both defaults lose records: commit before the effect, start at the end.
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    session_timeout_ms=int(self._settings.kafka_session_timeout_s * 1000),
                    heartbeat_interval_ms=int(self._settings.kafka_session_timeout_s * 300),
                    request_timeout_ms=int(self._settings.kafka_session_timeout_s * 3000),
                    **_LINK,
                    **_TOPICS,
                )
            batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except (KafkaError, AssertionError, OSError, ValueError) as error:
            log.warning("kafka poll failed; Postgres is swept meanwhile", error=repr(error))
            self._drop()
            return []
        out = []
        for partition, records in batches.items():
            self._done[partition] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
            out += [
                Record(
                    r.topic,
                    (r.key or b"").decode(),
                    r.value or b"",
                    {k: v.decode() for k, v in r.headers or ()},
                )
                for r in records
            ]
        return out

    async def commit(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit)

    def _commit(self) -> None:
        done, self._done = self._done, {}
        if self._consumer is None or not done:
            return
        try:
            self._consumer.commit(done)
        except CommitFailedError:
            log.info("group moved on before the commit; its records come again", group=self._group)
        except (KafkaError, AssertionError, OSError) as error:
            log.warning("kafka commit failed", group=self._group, error=repr(error))
            self._drop()

    def _drop(self) -> None:
        if self._consumer is not None:
            broken, self._consumer = self._consumer, None
            self._done = {}
            try:
                broken.close(autocommit=False, timeout_ms=500)
            except (KafkaError, AssertionError, OSError):
                log.debug("consumer closed while the broker was away")

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)


def create_topics(settings: Settings, kinds: Sequence[str]) -> None:
    """Create what is missing, with its settings; blocks. Raises Unavailable when the broker is away."""
    topics = [EVENTS, *(jobs_topic(kind) for kind in kinds)]
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=settings.kafka_bootstrap_servers.split(","),
            request_timeout_ms=8000,
            **_LINK,
        )
        try:
            missing = set(topics) - set(admin.list_topics())
            for name in sorted(missing):
                try:
                    admin.create_topics(
                        [NewTopic(name, settings.kafka_partitions, settings.kafka_replication)]
                    )
                except TopicAlreadyExistsError:
                    log.debug("another process made the topic first", topic=name)
        finally:
            admin.close()
    except (KafkaError, AssertionError, OSError) as error:
        raise Unavailable(f"Kafka did not create its topics: {error!r}") from error
