"""The sender's verbs: find what is due, claim one try of it, record what came of it.

    due --doorbell--> claim (lease, fencing number, place at the endpoint) --send--> record

Every time in here is the database's. The endpoint's row is always locked before a delivery's, so
claims and records at one endpoint follow each other and its counts are exact; two endpoints never
wait for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.webhooks import endpoints
from core.webhooks.retry import GONE, Answer, judge
from core.webhooks.tables import CANCELLED, DELIVERED, PENDING

# So many failures in a row open the circuit: then one probe an interval, the rest waits unspent.
CIRCUIT_AFTER = 10
PROBE_S = 60
DISABLE_AFTER_DAYS = 5
# Doorbells that may be out at once; the backlog stays in Postgres, where it can be ordered.
RING_WINDOW = 200
RING_AGAIN_S = 30
KEEP_DAYS = 30

GONE_REASON = "The endpoint answered 410 Gone."
FAILING_REASON = f"Nothing but failures for {DISABLE_AFTER_DAYS} days."
LOST = "lost"
RETRY = "retry"

_NUMBERS = {
    "circuit": CIRCUIT_AFTER,
    "probe": PROBE_S,
    "again": RING_AGAIN_S,
    "window": RING_WINDOW,
    "days": DISABLE_AFTER_DAYS,
}

_DUE = """d.state = 'pending' AND d.next_at <= now()
    AND (d.lease_until IS NULL OR d.lease_until <= now())
    AND (d.rung_at IS NULL OR d.rung_at <= now() - make_interval(secs => :again))"""
# In somebody's hands: rung and not yet answered, or being sent.
_OUT = """o.state = 'pending' AND o.rung_at IS NOT NULL
    AND (o.rung_at > now() - make_interval(secs => :again) OR o.lease_until > now())"""

_RING = text(
    f"""WITH room AS (
        SELECT e.id, CASE WHEN e.consecutive_failures >= :circuit THEN 1 ELSE :places END
            - (SELECT count(*) FROM webhook_deliveries o
               WHERE o.endpoint_id = e.id AND {_OUT}) AS free
        FROM webhook_endpoints e
        WHERE e.enabled AND (e.next_probe_at IS NULL OR e.next_probe_at <= now())
    ), picked AS (
        SELECT p.id FROM room CROSS JOIN LATERAL (
            SELECT d.id, d.next_at FROM webhook_deliveries d
            WHERE d.endpoint_id = room.id AND {_DUE}
            ORDER BY d.next_at LIMIT greatest(room.free, 0)
        ) p
        ORDER BY p.next_at
        LIMIT greatest(:window - (SELECT count(*) FROM webhook_deliveries o WHERE {_OUT}), 0)
    ), locked AS (
        SELECT d.id FROM webhook_deliveries d JOIN picked USING (id)
        WHERE {_DUE} FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE webhook_deliveries SET rung_at = now() FROM locked
    WHERE webhook_deliveries.id = locked.id RETURNING webhook_deliveries.id"""  # noqa: S608 - only constants are formatted in
)

# Some may have gone out and be in somebody's hands: those stay marked.
_UNRING = text(
    """UPDATE webhook_deliveries SET rung_at = NULL
       WHERE id = ANY(:ids) AND (lease_until IS NULL OR lease_until <= now())"""
)

_LOCK_FOR_CLAIM = text(
    """SELECT e.id, e.url, e.secret, e.enabled, e.consecutive_failures >= :circuit AS failing,
            CASE WHEN e.old_secret_until > now() THEN e.old_secret END AS old_secret,
            coalesce(e.next_probe_at > now(), false) AS held
       FROM webhook_endpoints e JOIN webhook_deliveries d ON d.endpoint_id = e.id
       WHERE d.id = :id AND d.state = 'pending' FOR NO KEY UPDATE OF e"""
)

_CLAIM = text(
    """UPDATE webhook_deliveries
       SET claim = claim + 1, tries = tries + 1, rung_at = coalesce(rung_at, now()),
           lease_until = now() + make_interval(secs => :lease)
       WHERE id = :id AND state = 'pending' AND next_at <= now()
         AND (lease_until IS NULL OR lease_until <= now())
         AND (SELECT count(*) FROM webhook_deliveries o WHERE o.endpoint_id = :endpoint
              AND o.state = 'pending' AND o.rung_at IS NOT NULL
              AND o.lease_until > now()) < :places
       RETURNING id, tenant_id, endpoint_id, event_id, event_type, body, tries, claim,
                 floor(extract(epoch FROM now()))::bigint AS at"""
)

_PROBE = text(
    """UPDATE webhook_endpoints SET next_probe_at = now() + make_interval(secs => :probe)
       WHERE id = :id"""
)

# The bell was answered, only not with a try: it may ring again when there is room or time.
_PUT_OFF = text(
    """UPDATE webhook_deliveries
       SET rung_at = NULL, state = CASE WHEN :enabled THEN state ELSE 'cancelled' END
       WHERE id = :id AND state = 'pending' AND (lease_until IS NULL OR lease_until <= now())"""
)


@dataclass(frozen=True, slots=True)
class Try:
    """One claimed try. `at`: its webhook-timestamp, Unix seconds. The present secret is first."""

    id: str
    tenant_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    body: bytes = field(repr=False)
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    tries: int
    claim: int
    at: int


async def ring(session: AsyncSession, *, per_endpoint: int) -> list[str]:
    """Mark what is due as rung and return its ids; any number of feeders may run.

    An endpoint gets no more than `per_endpoint` doorbells at a time, one while its circuit is open.
    """
    rows = await session.execute(_RING, {**_NUMBERS, "places": per_endpoint})
    return [row.id for row in rows]


async def unring(session: AsyncSession, ids: Sequence[str]) -> None:
    """The doorbells did not go out: let them be found again at once."""
    await session.execute(_UNRING, {"ids": list(ids)})


async def claim(
    session: AsyncSession, delivery_id: str, *, lease_s: float, per_endpoint: int
) -> Try | None:
    """Take the next try of a delivery; None: not now, and if ever, another doorbell will come.

    That is: it is done, not due, being sent, at an endpoint with `per_endpoint` tries under way, or
    at one whose circuit is open and whose probe is not due.
    """
    which = {"id": delivery_id}
    endpoint = (await session.execute(_LOCK_FOR_CLAIM, {**_NUMBERS, **which})).one_or_none()
    if endpoint is None:
        return None
    row = None
    if endpoint.enabled and not endpoint.held:
        places = 1 if endpoint.failing else per_endpoint
        limits = {"lease": lease_s, "places": places, "endpoint": endpoint.id}
        row = (await session.execute(_CLAIM, {**which, **limits})).one_or_none()
    if row is None:
        await session.execute(_PUT_OFF, {**which, "enabled": endpoint.enabled})
        return None
    if endpoint.failing:
        await session.execute(_PROBE, {**_NUMBERS, "id": endpoint.id})
    secrets = tuple(one for one in (endpoint.secret, endpoint.old_secret) if one)
    return Try(
        row.id, row.tenant_id, row.endpoint_id, row.event_id, row.event_type, row.body.encode(),
        endpoint.url, secrets, row.tries, row.claim, row.at,
    )  # fmt: skip


_LOCK_FOR_RECORD = text(
    """SELECT id, enabled, consecutive_failures,
           coalesce(failing_since <= now() - make_interval(days => :days), false) AS long
       FROM webhook_endpoints WHERE id = :id FOR NO KEY UPDATE"""
)

_RECORD = text(
    """UPDATE webhook_deliveries
       SET state = CAST(:state AS text), lease_until = NULL, rung_at = NULL, last_status = :status,
           last_error = :error, last_response = :response,
           next_at = CASE WHEN CAST(:state AS text) = 'pending'
                          THEN now() + make_interval(secs => :pause) END,
           delivered_at = CASE WHEN CAST(:state AS text) = 'delivered' THEN now() END
       WHERE id = :id AND claim = :claim AND state = 'pending' RETURNING id"""
)

_WORKS = text(
    """UPDATE webhook_endpoints
       SET consecutive_failures = 0, failing_since = NULL, next_probe_at = NULL WHERE id = :id"""
)

_FAILS = text(
    """UPDATE webhook_endpoints
       SET consecutive_failures = consecutive_failures + 1,
           failing_since = coalesce(failing_since, now()),
           next_probe_at = CASE WHEN consecutive_failures + 1 >= :circuit
                                THEN now() + make_interval(secs => :probe) END
       WHERE id = :id"""
)


async def record(
    session: AsyncSession, tried: Try, answer: Answer, *, schedule: Sequence[float], jitter: float
) -> str:
    """Write what came of a try, if the try is still ours, and what it says of the endpoint.

    Returns the outcome: delivered, retry, dead, cancelled (endpoint gone), or lost: the lease ran
    out and somebody else owns the delivery, or it was cancelled or replayed; nothing changed.
    """
    endpoint = (
        await session.execute(_LOCK_FOR_RECORD, {**_NUMBERS, "id": tried.endpoint_id})
    ).one_or_none()
    verdict = judge(answer, tries=tried.tries, schedule=schedule, jitter=jitter)
    values = {
        "id": tried.id, "claim": tried.claim, "state": verdict.state, "pause": verdict.pause_s,
        "status": answer.status, "error": answer.error, "response": answer.response,
    }  # fmt: skip
    row = (await session.execute(_RECORD, values)).one_or_none()
    if endpoint is None or row is None:
        return LOST
    if verdict.state == DELIVERED:
        if endpoint.consecutive_failures:
            await session.execute(_WORKS, {"id": endpoint.id})
        return DELIVERED
    await session.execute(_FAILS, {**_NUMBERS, "id": endpoint.id})
    failing = endpoint.consecutive_failures + 1 >= CIRCUIT_AFTER
    if answer.status == GONE:
        await endpoints.disable(session, endpoint.id, GONE_REASON)
    elif failing and endpoint.long:
        await endpoints.disable(session, endpoint.id, FAILING_REASON)
        return CANCELLED if verdict.state == PENDING else verdict.state
    return RETRY if verdict.state == PENDING else verdict.state


_SIBLING = text(
    f"""UPDATE webhook_deliveries SET rung_at = now() WHERE id = (
        SELECT d.id FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
        WHERE d.endpoint_id = :id AND e.enabled AND e.consecutive_failures = 0 AND {_DUE}
        ORDER BY d.next_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED)
    RETURNING id"""  # noqa: S608 - only constants are formatted in
)


async def another(session: AsyncSession, endpoint_id: str) -> str | None:
    """Another due delivery of an endpoint that answers well, marked as rung: it needs no bell."""
    found: str | None = await session.scalar(_SIBLING, {**_NUMBERS, "id": endpoint_id})
    return found


_CANCEL_ORPHANS = text(
    """UPDATE webhook_deliveries d SET state = 'cancelled', next_at = NULL, rung_at = NULL
       FROM webhook_endpoints e WHERE e.id = d.endpoint_id AND NOT e.enabled
         AND d.state = 'pending' AND (d.lease_until IS NULL OR d.lease_until <= now())"""
)

# An hour is far beyond the statement timeout, so no statement under way can still refer to the row.
_FORGET_ENDPOINTS = text(
    "DELETE FROM webhook_endpoints WHERE deleted_at < now() - interval '1 hour'"
)

_FORGET_DELIVERIES = text(
    """DELETE FROM webhook_deliveries WHERE id IN (
           SELECT old.id FROM webhook_endpoints e CROSS JOIN LATERAL (
               SELECT d.id FROM webhook_deliveries d WHERE d.endpoint_id = e.id
                 AND d.created_at < now() - make_interval(days => :keep) AND d.state <> 'pending'
               ORDER BY d.created_at LIMIT 500) old
           LIMIT 5000)"""
)


async def tidy(session: AsyncSession) -> None:
    """Cancel what slipped in while its endpoint was disabled; forget the deleted and the old."""
    await session.execute(_CANCEL_ORPHANS)
    await session.execute(_FORGET_ENDPOINTS)
    await session.execute(_FORGET_DELIVERIES, {"keep": KEEP_DAYS})


async def pending(session: AsyncSession) -> int:
    """How many deliveries wait, at all endpoints."""
    count = await session.scalar(
        text("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'")
    )
    return int(count or 0)
