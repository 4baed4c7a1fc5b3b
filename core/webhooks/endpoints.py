"""A tenant's verbs for its webhook endpoints: create, list, get, change, rotate, delete."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, InvalidInput, NotFound
from core.events.types import BATCH_ENDED, EVAL_RUNS, FACTS, FINE_TUNED, GUARD, MODELS, RESPONSES
from core.ids import new_id
from core.security.keys import Caller, Tenant
from core.webhooks import addresses, signing
from core.webhooks.addresses import Guard
from core.webhooks.tables import CANCELLED, PENDING, WebhookDelivery, WebhookEndpoint

EVENT_TYPES = FACTS + BATCH_ENDED + RESPONSES + FINE_TUNED + MODELS + EVAL_RUNS + GUARD
MAX_ENDPOINTS = 50
BY_OWNER = "Disabled by its owner."


async def create(
    session: AsyncSession,
    caller: Caller,
    rules: Guard,
    *,
    name: str,
    url: str,
    event_types: Sequence[str],
) -> WebhookEndpoint:
    """A new, enabled endpoint with a fresh secret.

    Raises InvalidInput for a URL or event type that will not do, Conflict beyond MAX_ENDPOINTS.
    """
    wanted = _event_types(event_types)
    # The lookup comes before the first statement: it may take seconds, and would hold a connection.
    await addresses.check_url(url, rules)
    await _room(session, caller)
    endpoint = WebhookEndpoint(
        id=new_id("we"), tenant_id=caller.tenant_id, name=name, url=url, event_types=wanted,
        secret=signing.new_secret(), enabled=True,
    )  # fmt: skip
    session.add(endpoint)
    await session.flush()
    await session.refresh(endpoint)
    return endpoint


def _event_types(wanted: Sequence[str]) -> list[str]:
    unknown = [one for one in wanted if one not in EVENT_TYPES]
    if unknown or not wanted:
        what = f"does not know {unknown[0]!r}" if unknown else "is empty"
        raise InvalidInput(
            f"event_types {what}; choose from {', '.join(EVENT_TYPES)}", param="event_types"
        )
    return list(dict.fromkeys(wanted))


async def _room(session: AsyncSession, caller: Caller) -> None:
    # The tenant's row is locked so that two requests cannot both take the last place; jobs of the
    # tenant only need its key, and go on.
    await session.execute(
        select(Tenant.id).where(Tenant.id == caller.tenant_id).with_for_update(key_share=True)
    )
    count = await session.scalar(
        select(func.count())
        .select_from(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == caller.tenant_id, WebhookEndpoint.deleted_at.is_(None))
    )
    if (count or 0) >= MAX_ENDPOINTS:
        raise Conflict(
            f"There are {MAX_ENDPOINTS} webhook endpoints, which is the most; delete one first",
            code="too_many_endpoints",
        )


async def get(
    session: AsyncSession, caller: Caller, endpoint_id: str, *, lock: bool = False
) -> WebhookEndpoint:
    """Raises NotFound for one that is not there, deleted, or another tenant's: all look the same.

    `lock` keeps tries of its deliveries from being claimed or recorded until the transaction ends.
    """
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.id == endpoint_id,
        WebhookEndpoint.tenant_id == caller.tenant_id,
        WebhookEndpoint.deleted_at.is_(None),
    )
    if lock:
        # Not a full FOR UPDATE: recording a fact inserts deliveries, and must not wait for us.
        query = query.with_for_update(key_share=True)
    endpoint = await session.scalar(query)
    if endpoint is None:
        raise NotFound(
            f"No webhook endpoint {endpoint_id}. Check the id and the key's tenant.",
            param="endpoint_id",
        )
    return endpoint


async def listed(
    session: AsyncSession, caller: Caller, *, after: str | None = None, limit: int = 20
) -> tuple[list[WebhookEndpoint], bool]:
    """Newest first, from below `after`. Returns the page and whether there is more."""
    query = (
        select(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == caller.tenant_id, WebhookEndpoint.deleted_at.is_(None))
        .order_by(WebhookEndpoint.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(WebhookEndpoint.id < after)
    page = list((await session.scalars(query)).all())
    return page[:limit], len(page) > limit


async def change(
    session: AsyncSession,
    caller: Caller,
    rules: Guard,
    endpoint_id: str,
    *,
    name: str | None = None,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given. A new URL or enabling forgets failures; disabling cancels what waits.

    Raises NotFound, and InvalidInput as `create` does.
    """
    values: dict[str, Any] = {} if name is None else {"name": name}
    if event_types is not None:
        values["event_types"] = _event_types(event_types)
    if url is not None:
        await addresses.check_url(url, rules)
        values["url"] = url
    endpoint = await get(session, caller, endpoint_id, lock=True)
    if url is not None or enabled:
        values |= {"consecutive_failures": 0, "failing_since": None, "next_probe_at": None}
    if enabled:
        values |= {"enabled": True, "disabled_reason": None, "disabled_at": None}
    if enabled is False and endpoint.enabled:
        await disable(session, endpoint.id, BY_OWNER)
    if values:
        values["updated_at"] = func.now()
        await _set(session, endpoint.id, **values)
    await session.refresh(endpoint)
    return endpoint


async def rotate(
    session: AsyncSession, caller: Caller, endpoint_id: str, *, keep_old: bool
) -> WebhookEndpoint:
    """A new secret; with `keep_old` the present one signs beside it for 24 h. Raises NotFound."""
    endpoint = await get(session, caller, endpoint_id, lock=True)
    await _set(
        session,
        endpoint.id,
        secret=signing.new_secret(),
        old_secret=endpoint.secret if keep_old else None,
        old_secret_until=text("now() + interval '24 hours'") if keep_old else None,
        updated_at=func.now(),
    )
    await session.refresh(endpoint)
    return endpoint


async def delete(session: AsyncSession, caller: Caller, endpoint_id: str) -> None:
    """Nothing is sent from now on, and the secret is gone. Raises NotFound."""
    endpoint = await get(session, caller, endpoint_id, lock=True)
    await disable(session, endpoint.id, "Deleted by its owner.")
    await _set(session, endpoint.id, deleted_at=func.now(), secret="", old_secret=None)


async def disable(session: AsyncSession, endpoint_id: str, reason: str) -> None:
    """Stop sending to an endpoint and cancel what waits. The caller holds the endpoint's lock."""
    await _set(session, endpoint_id, enabled=False, disabled_reason=reason, disabled_at=func.now())
    await session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state == PENDING)
        .values(state=CANCELLED, next_at=None, lease_until=None, rung_at=None)
    )


async def _set(session: AsyncSession, endpoint_id: str, **values: Any) -> None:
    await session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
