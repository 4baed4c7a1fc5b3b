"""A tenant's verbs for its deliveries: send a test, list, send again one or all of a time."""

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, InvalidInput, NotFound
from core.events import types
from core.ids import new_id
from core.security.keys import Caller
from core.webhooks import endpoints
from core.webhooks.tables import CANCELLED, DEAD, WebhookDelivery, WebhookEndpoint

# What may be sent again in bulk; one by one, a delivered one may be too.
REPLAYABLE = (DEAD, CANCELLED)


async def send_test(
    session: AsyncSession, caller: Caller, endpoint_id: str, event_type: str
) -> WebhookDelivery:
    """Send a sample event down the ordinary path; the endpoint need not subscribe to its type.

    Raises NotFound, InvalidInput for an unknown type, Conflict when the endpoint is disabled.
    """
    if event_type not in endpoints.EVENT_TYPES:
        raise InvalidInput(
            f"event_type does not know {event_type!r};"
            f" choose from {', '.join(endpoints.EVENT_TYPES)}",
            param="event_type",
        )
    endpoint = await _enabled(session, caller, endpoint_id)
    now: datetime = (await session.execute(select(func.now()))).scalar_one()
    event_id = new_id("evt")
    delivery = WebhookDelivery(
        id=new_id("wd"), tenant_id=caller.tenant_id, endpoint_id=endpoint.id, event_id=event_id,
        event_type=event_type, body=_sample(event_id, event_type, now),
    )  # fmt: skip
    session.add(delivery)
    await session.flush()
    await session.refresh(delivery)
    return delivery


def _sample(event_id: str, event_type: str, now: datetime) -> str:
    """A body like that of a fact, of a job that does not exist."""
    body = {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created_at": int(now.timestamp()),
        "timestamp": types.rfc3339(now),
        "data": _sample_data(event_type),
    }
    return orjson.dumps(body).decode()


def _sample_data(event_type: str) -> dict[str, Any]:
    if event_type in types.BATCH_ENDED:
        return {"id": "batch_" + "0" * 26, "test": True}
    if event_type in types.RESPONSES:
        return {"id": "resp_" + "0" * 26, "test": True}
    if event_type in types.FINE_TUNED:
        return {"id": "ftjob-" + "0" * 26, "test": True}
    if event_type in types.MODELS:
        return {"id": "ft:model:tenant::00000000", "test": True}
    if event_type in types.EVAL_RUNS:
        return {"id": "evalrun_" + "0" * 26, "test": True}
    if event_type in types.GUARD:
        return {"id": "guardwatch_" + "0" * 26, "test": True}
    waiting = dict.fromkeys((types.REQUEUED, types.PAUSED, types.RESUMED), "queued")
    state = ({types.STARTED: "running"} | waiting).get(event_type)
    return {
        "id": "job_" + "0" * 26,
        "seq": 1,
        "state": state or event_type.removeprefix("job."),
        "attempt": 1,
        "test": True,
    }


async def _enabled(session: AsyncSession, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
    endpoint = await endpoints.get(session, caller, endpoint_id, lock=True)
    if not endpoint.enabled:
        raise Conflict(
            f"The endpoint is disabled ({endpoint.disabled_reason}) Set enabled to true first.",
            code="endpoint_disabled",
        )
    return endpoint


async def listed(
    session: AsyncSession,
    caller: Caller,
    endpoint_id: str,
    *,
    state: str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> tuple[list[WebhookDelivery], bool]:
    """Newest first, from below `after`: the page and whether there is more. Raises NotFound."""
    endpoint = await endpoints.get(session, caller, endpoint_id)
    order = (WebhookDelivery.created_at, WebhookDelivery.id)
    query = (
        select(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint.id)
        .order_by(order[0].desc(), order[1].desc())
        .limit(limit + 1)
    )
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    if after is not None:
        last = await get(session, caller, endpoint_id, after)
        query = query.where(tuple_(*order) < tuple_(literal(last.created_at), literal(last.id)))
    page = list((await session.scalars(query)).all())
    return page[:limit], len(page) > limit


async def get(
    session: AsyncSession, caller: Caller, endpoint_id: str, delivery_id: str
) -> WebhookDelivery:
    """Raises NotFound for one that is not there or is not this endpoint's."""
    delivery = await session.scalar(
        select(WebhookDelivery).where(
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.tenant_id == caller.tenant_id,
        )
    )
    if delivery is None:
        raise NotFound(
            f"No delivery {delivery_id} of {endpoint_id}. List them: GET"
            f" /v1/webhook_endpoints/{endpoint_id}/deliveries",
            param="delivery_id",
        )
    return delivery


# The claim number rises: a try that is still under way must not record over the replay.
_AGAIN = """UPDATE webhook_deliveries
    SET state = 'pending', tries = 0, next_at = now(), rung_at = NULL, lease_until = NULL,
        delivered_at = NULL, claim = claim + 1
    WHERE endpoint_id = :endpoint AND state <> 'pending' AND {which} RETURNING id"""
_ONE_AGAIN = text(_AGAIN.format(which="id = :id"))
_MANY_AGAIN = text(
    _AGAIN.format(
        which="""state = :state
    AND created_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
    AND created_at < coalesce(CAST(:until AS timestamptz), 'infinity')"""
    )
)


async def replay(
    session: AsyncSession, caller: Caller, endpoint_id: str, delivery_id: str
) -> WebhookDelivery:
    """Send one again: the same webhook-id, a new timestamp, all its tries.

    Raises NotFound, or Conflict when it is still pending or the endpoint is disabled.
    """
    endpoint = await _enabled(session, caller, endpoint_id)
    delivery = await get(session, caller, endpoint_id, delivery_id)
    which = {"endpoint": endpoint.id, "id": delivery.id}
    if (await session.execute(_ONE_AGAIN, which)).one_or_none() is None:
        raise Conflict("The delivery is still pending; it will be sent", code="delivery_pending")
    await session.refresh(delivery)
    return delivery


async def replay_many(
    session: AsyncSession,
    caller: Caller,
    endpoint_id: str,
    *,
    state: str = DEAD,
    since: int | None = None,
    until: int | None = None,
) -> int:
    """Send again all in `state` of events in [since, until), Unix seconds. Returns how many.

    Raises NotFound, Conflict when the endpoint is disabled.
    """
    endpoint = await _enabled(session, caller, endpoint_id)
    which: dict[str, Any] = {
        "endpoint": endpoint.id,
        "state": state,
        "since": _moment(since),
        "until": _moment(until),
    }
    return len((await session.execute(_MANY_AGAIN, which)).all())


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
