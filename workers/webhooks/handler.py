"""Answers a webhook doorbell: claim one try, send it, record what came of it."""

import random
import time
from dataclasses import dataclass

import httpcore
import structlog

from core.config import Settings
from core.db.session import Database
from core.errors import InvalidInput
from core.webhooks import addresses, retry, signing, tries
from core.webhooks.retry import Answer
from core.webhooks.tables import DEAD, DELIVERED
from core.webhooks.tries import Try
from workers.webhooks import metrics, transport

log = structlog.get_logger(__name__)

# Beyond the total timeout of a try: time to record before the lease lets another worker send again.
LEASE_MARGIN_S = 10.0
# A receiver that answers quickly gets its backlog without a doorbell for each; one that is slow
# goes back to the end of the line, so that it cannot keep a thread of the pool.
CHAIN_S = 1.0

_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a webhook worker holds."""

    db: Database
    settings: Settings
    http: httpcore.AsyncConnectionPool


async def prepare(settings: Settings) -> Runtime:
    """Raises InvalidInput when the allowed networks do not parse."""
    rules = addresses.guard(settings)
    # A try holds a connection only while it is claimed and recorded, not while it waits.
    database = Database(settings, name="webhooks", pool=max(2, settings.webhook_slots // 2))
    return Runtime(database, settings, transport.make(rules))


async def close(runtime: Runtime) -> None:
    await runtime.http.aclose()
    await runtime.db.close()


async def deliver(runtime: Runtime, delivery_id: str) -> None:
    """Answer one doorbell; then, for up to CHAIN_S, send what else is due at the same endpoint.

    Raises SQLAlchemyError when Postgres is away: the lease runs out, and the try is made again.
    """
    until = time.monotonic() + CHAIN_S
    current: str | None = delivery_id
    while current is not None:
        current = await _once(runtime, current, until)


async def _once(runtime: Runtime, delivery_id: str, chain_until: float) -> str | None:
    """Returns the next delivery of the chain, or None at its end."""
    settings = runtime.settings
    async with runtime.db.begin() as session:
        tried = await tries.claim(
            session,
            delivery_id,
            lease_s=settings.webhook_timeout_s + LEASE_MARGIN_S,
            per_endpoint=settings.webhook_per_endpoint,
        )
    if tried is None:
        return None
    began = time.monotonic()
    answer = await send(runtime, tried)
    ended = time.monotonic()
    metrics.DURATION.observe(ended - began)
    async with runtime.db.begin() as session:
        outcome = await tries.record(
            session,
            tried,
            answer,
            schedule=settings.webhook_schedule_s,
            jitter=_random.uniform(-retry.JITTER, retry.JITTER),
        )
        following = None
        if outcome == DELIVERED and ended < chain_until:
            following = await tries.another(session, tried.endpoint_id)
    _tell(tried, answer, outcome, ended - began)
    return following


async def send(runtime: Runtime, tried: Try) -> Answer:
    """Sign and send; an error is an answer too."""
    settings = runtime.settings
    try:
        # Again: the rules may have become stricter since the endpoint was registered.
        target = addresses.parse(tried.url, allow_http=settings.webhook_allow_http)
    except InvalidInput as error:
        return Answer(None, error.message)
    headers = {
        "webhook-id": tried.event_id,
        "webhook-timestamp": str(tried.at),
        "webhook-signature": signing.sign(tried.secrets, tried.event_id, tried.at, tried.body),
    }
    return await transport.post(
        runtime.http, target, headers, tried.body, total_s=settings.webhook_timeout_s
    )


def _tell(tried: Try, answer: Answer, outcome: str, seconds: float) -> None:
    metrics.DELIVERIES.labels(outcome).inc()
    bound = log.bind(
        tenant=tried.tenant_id,
        endpoint=tried.endpoint_id,
        delivery=tried.id,
        event_id=tried.event_id,
    )
    bound.info(
        "webhook tried", outcome=outcome, status=answer.status, error=answer.error,
        tries=tried.tries, seconds=round(seconds, 3),
    )  # fmt: skip
    if outcome == DEAD:
        metrics.EXHAUSTED.inc()
        bound.warning("webhook.exhausted", tries=tried.tries)
