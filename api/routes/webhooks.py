"""Webhook endpoints and their deliveries. Times on this surface are integer Unix seconds."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Response

from api import views
from api.deps import CallerDep, Parts, PartsDep, SessionDep
from api.routes import webhook_shapes as shapes
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import KNOWN
from core.errors import Conflict
from core.security.keys import Caller
from core.webhooks import addresses, deliveries, endpoints
from core.webhooks.addresses import Guard
from core.webhooks.tables import DELIVERED, PENDING, WebhookDelivery

router = APIRouter(prefix="/v1", tags=["webhooks"], responses=ERRORS, dependencies=[KNOWN])

EndpointId = Annotated[
    str, Path(pattern=r"^we_[0-9a-z]{26}$", examples=["we_01kaq0v9ej6xk0m3c8s5t1w2yz"])
]
DeliveryId = Annotated[str, Path(pattern=shapes.DELIVERY_ID)]
Limit = Annotated[int, Query(ge=1, le=100)]
# A test waits for one try: the endpoint's own time, and this much for the way to it.
ROAD_S = 5.0
LOOK_AGAIN_S = 0.05


def guard(parts: PartsDep) -> Guard:
    """The address rules; a test puts another resolver in."""
    return addresses.guard(parts.settings)


GuardDep = Annotated[Guard, Depends(guard)]


@router.get("/webhook_event_types", responses={200: {"model": shapes.EventTypes}})
async def event_types(_: CallerDep) -> Response:
    """What an endpoint may subscribe to."""
    return answer({"object": "list", "data": list(endpoints.EVENT_TYPES)})


@router.get("/webhook_endpoints", responses={200: {"model": shapes.EndpointList}})
async def listed(
    caller: CallerDep,
    session: SessionDep,
    after: Annotated[str | None, Query(pattern=r"^we_[0-9a-z]{26}$")] = None,
    limit: Limit = 20,
) -> Response:
    """Your endpoints, newest first; `after=<last_id>` continues."""
    found, more = await endpoints.listed(session, caller, after=after, limit=limit)
    return answer(views.page([shapes.endpoint(one) for one in found], more))


@router.post(
    "/webhook_endpoints", status_code=201, responses={201: {"model": shapes.EndpointWithSecret}}
)
async def create(
    new: shapes.NewEndpoint, caller: CallerDep, rules: GuardDep, session: SessionDep
) -> Response:
    """Register an endpoint. `signing_secret` is in this answer and in no later one."""
    made = await endpoints.create(
        session, caller, rules, name=new.name, url=new.url, event_types=new.event_types
    )
    headers = {"location": f"/v1/webhook_endpoints/{made.id}"}
    return answer(shapes.endpoint(made, show_secret=True), 201, headers)


@router.get("/webhook_endpoints/{endpoint_id}", responses={200: {"model": shapes.EndpointView}})
async def get(endpoint_id: EndpointId, caller: CallerDep, session: SessionDep) -> Response:
    """One endpoint: whether it is enabled, and since when it has been failing."""
    return answer(shapes.endpoint(await endpoints.get(session, caller, endpoint_id)))


@router.post("/webhook_endpoints/{endpoint_id}", responses={200: {"model": shapes.EndpointView}})
async def change(
    endpoint_id: EndpointId,
    wanted: shapes.EndpointChange,
    caller: CallerDep,
    rules: GuardDep,
    session: SessionDep,
) -> Response:
    """Change what is given. Enabling forgets past failures; disabling cancels what waits."""
    changed = await endpoints.change(
        session, caller, rules, endpoint_id, **wanted.model_dump(exclude_unset=True)
    )
    return answer(shapes.endpoint(changed))


@router.delete(
    "/webhook_endpoints/{endpoint_id}", responses={200: {"model": shapes.DeletedEndpoint}}
)
async def delete(endpoint_id: EndpointId, caller: CallerDep, session: SessionDep) -> Response:
    """Remove an endpoint with its deliveries; nothing more is sent to it."""
    await endpoints.delete(session, caller, endpoint_id)
    return answer({"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True})


@router.post(
    "/webhook_endpoints/{endpoint_id}/rotate_secret",
    responses={200: {"model": shapes.EndpointWithSecret}},
)
async def rotate_secret(
    endpoint_id: EndpointId,
    caller: CallerDep,
    session: SessionDep,
    wanted: Annotated[shapes.Rotation | None, Body()] = None,
) -> Response:
    """A new secret, shown in this answer only. The old one may sign beside it for a day."""
    keep = wanted is not None and wanted.keep_old_secret_active_for_24_hours
    rotated = await endpoints.rotate(session, caller, endpoint_id, keep_old=keep)
    return answer(shapes.endpoint(rotated, show_secret=True))


@router.post("/webhook_endpoints/{endpoint_id}/test", responses={200: {"model": shapes.Tested}})
async def send_test(
    endpoint_id: EndpointId, wanted: shapes.Test, caller: CallerDep, parts: PartsDep
) -> Response:
    """Send a sample event down the ordinary road and say how the endpoint took it; 409 when it did not."""
    async with parts.db.begin() as session:
        sent = await deliveries.send_test(session, caller, endpoint_id, wanted.event_type)
    tried = await _tried(parts, caller, endpoint_id, sent.id)
    if tried is None or tried.state != DELIVERED:
        raise _untaken(sent.id, tried)
    return answer(shapes.tested(tried))


async def _tried(
    parts: Parts, caller: Caller, endpoint_id: str, delivery_id: str
) -> WebhookDelivery | None:
    """The delivery once a try of it is recorded; None when none was in time."""
    try:
        async with asyncio.timeout(parts.settings.webhook_timeout_s + ROAD_S):
            while True:
                async with parts.db.single() as session:
                    found = await deliveries.get(session, caller, endpoint_id, delivery_id)
                if found.state != PENDING or found.last_error or found.last_status:
                    return found
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        return None


def _untaken(delivery_id: str, tried: WebhookDelivery | None) -> Conflict:
    """Final for a client, which would send another test; ours is tried again by itself."""
    look = f"Look at delivery {delivery_id}."
    if tried is None:
        return Conflict(
            f"The test was not sent yet: is a webhooks worker running? {look}", code="test_pending"
        )
    how = f"answered {tried.last_status}" if tried.last_status else f"failed: {tried.last_error}"
    return Conflict(f"The endpoint {how}. {look}", code="test_failed")


@router.get(
    "/webhook_endpoints/{endpoint_id}/deliveries", responses={200: {"model": shapes.DeliveryList}}
)
async def listed_deliveries(
    endpoint_id: EndpointId,
    caller: CallerDep,
    session: SessionDep,
    state: shapes.DeliveryState | None = None,
    after: Annotated[str | None, Query(pattern=shapes.DELIVERY_ID)] = None,
    limit: Limit = 20,
) -> Response:
    """Deliveries of an endpoint, newest first. `state=dead` are those that used up their tries."""
    found, more = await deliveries.listed(
        session, caller, endpoint_id, state=state, after=after, limit=limit
    )
    return answer(views.page([shapes.delivery(one) for one in found], more))


@router.get(
    "/webhook_endpoints/{endpoint_id}/deliveries/{delivery_id}",
    responses={200: {"model": shapes.DeliveryView}},
)
async def get_delivery(
    endpoint_id: EndpointId, delivery_id: DeliveryId, caller: CallerDep, session: SessionDep
) -> Response:
    """One delivery, with what its last try met."""
    return answer(shapes.delivery(await deliveries.get(session, caller, endpoint_id, delivery_id)))


@router.post(
    "/webhook_endpoints/{endpoint_id}/deliveries/{delivery_id}/replay",
    responses={200: {"model": shapes.DeliveryView}},
)
async def replay(
    endpoint_id: EndpointId, delivery_id: DeliveryId, caller: CallerDep, session: SessionDep
) -> Response:
    """Send one again, under its old webhook-id and with a new timestamp."""
    again = await deliveries.replay(session, caller, endpoint_id, delivery_id)
    return answer(shapes.delivery(again))


@router.post("/webhook_endpoints/{endpoint_id}/replay", responses={200: {"model": shapes.Replayed}})
async def replay_many(
    endpoint_id: EndpointId, wanted: shapes.Replay, caller: CallerDep, session: SessionDep
) -> Response:
    """Send again all deliveries in `state` of events in [since, until)."""
    count = await deliveries.replay_many(
        session, caller, endpoint_id, **_given(wanted.model_dump())
    )
    return answer({"object": "webhook_endpoint.replay", "id": endpoint_id, "replayed": count})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
