"""What the webhook routes take and give, as OpenAI's client knows it, and deliveries beside it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.jobs.sampling import no_nul
from core.webhooks import signing
from core.webhooks.addresses import MAX_URL
from core.webhooks.tables import PENDING, WebhookDelivery, WebhookEndpoint

# The database names facts' deliveries, we name test deliveries: 32 or 26 letters and digits.
DELIVERY_ID = r"^wd_[0-9a-z]{26,32}$"
# The end of the year 9999, beyond which no date exists.
_LAST_SECOND = 253_402_300_799


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(no_nul)]
Url = Annotated[
    str,
    Field(min_length=1, max_length=MAX_URL, examples=["https://example.com/hooks"]),
    AfterValidator(no_nul),
]
# Which names are valid is core's to say, in an error that lists them.
EventType = Annotated[str, Field(max_length=64, examples=["job.succeeded"]), AfterValidator(no_nul)]
EventTypeList = Annotated[list[EventType], Field(min_length=1, max_length=64)]
Seconds = Annotated[int, Field(ge=0, le=_LAST_SECOND, description="Unix seconds")]
DeliveryState = Literal["pending", "delivered", "dead", "cancelled"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewEndpoint(_Body):
    name: Name
    url: Url
    event_types: EventTypeList


class EndpointChange(_Body):
    """What is left out or null stays."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypeList | None = None
    enabled: bool | None = None


class Rotation(_Body):
    keep_old_secret_active_for_24_hours: bool = False


class Test(_Body):
    event_type: EventType


class Replay(_Body):
    """`since` and `until` bound the time of the event, the second exclusively."""

    state: Literal["dead", "cancelled"] = "dead"
    since: Seconds | None = None
    until: Seconds | None = None


class EndpointView(BaseModel):
    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    enabled: bool
    disabled_reason: str | None
    failing_since: int | None
    created_at: int
    updated_at: int


class EndpointWithSecret(EndpointView):
    signing_secret: str = Field(repr=False)


class EndpointList(BaseModel):
    object: Literal["list"]
    data: list[EndpointView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedEndpoint(BaseModel):
    id: str
    object: Literal["webhook_endpoint.deleted"]
    deleted: bool


class EventTypes(BaseModel):
    object: Literal["list"]
    data: list[str]


class DeliveryView(BaseModel):
    """`last_response` is the beginning of what the endpoint answered, at most 1 KiB."""

    id: str
    object: Literal["webhook_delivery"]
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    state: DeliveryState
    tries: int
    next_try_at: int | None
    last_status: int | None
    last_error: str | None
    last_response: str | None
    created_at: int
    delivered_at: int | None


class Tested(BaseModel):
    """A test that was taken; `delivery` is our own addition."""

    object: Literal["webhook_endpoint.test"]
    event_type: str
    webhook_endpoint_id: str
    status_code: int
    success: Literal[True]
    delivery: DeliveryView


class DeliveryList(BaseModel):
    object: Literal["list"]
    data: list[DeliveryView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Replayed(BaseModel):
    object: Literal["webhook_endpoint.replay"]
    id: str
    replayed: int


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at is not None else None


def endpoint(row: WebhookEndpoint, *, show_secret: bool = False) -> dict[str, Any]:
    """An endpoint; with its secret only when that has just been made."""
    view = {
        "id": row.id,
        "object": "webhook_endpoint",
        "name": row.name,
        "url": row.url,
        "event_types": row.event_types,
        "signing_secret_hint": signing.hint(row.secret),
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason,
        "failing_since": _seconds(row.failing_since),
        "created_at": _seconds(row.created_at),
        "updated_at": _seconds(row.updated_at),
    }
    return view | {"signing_secret": row.secret} if show_secret else view


def delivery(row: WebhookDelivery) -> dict[str, Any]:
    """A delivery without its body, which the job's own events tell better."""
    return {
        "id": row.id,
        "object": "webhook_delivery",
        "webhook_endpoint_id": row.endpoint_id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "state": row.state,
        "tries": row.tries,
        "next_try_at": _seconds(row.next_at) if row.state == PENDING else None,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "last_response": row.last_response,
        "created_at": _seconds(row.created_at),
        "delivered_at": _seconds(row.delivered_at),
    }


def tested(row: WebhookDelivery) -> dict[str, Any]:
    """A test delivery that the endpoint took."""
    return {
        "object": "webhook_endpoint.test",
        "event_type": row.event_type,
        "webhook_endpoint_id": row.endpoint_id,
        "status_code": row.last_status,
        "success": True,
        "delivery": delivery(row),
    }
