"""What a response is asked to answer: items by reference, what came before them, and what of it fits the context."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from api.admission import admit_to, counted, room
from api.deps import Parts
from core.catalog.models import Served
from core.errors import InvalidInput, NotFound
from core.jobs import responses
from core.jobs.job import State
from core.jobs.kinds import InferenceJob
from core.openai import response_answers, response_items, response_output
from core.openai.response_items import Item
from core.openai.response_shapes import NAMES, Ask, Prompted
from core.openai.shapes import renamed
from core.security.keys import Caller

Messages = list[dict[str, Any]]
T = TypeVar("T")
TOO_LONG: Final = "context_length_exceeded"


async def items(parts: Parts, caller: Caller, value: Any) -> list[Item]:
    """The input as items, with those that it refers to in their places. Raises InvalidInput."""
    if isinstance(value, list):
        value = [await _referred(parts, caller, one, f"input.{n}") for n, one in enumerate(value)]
    return response_items.items(value)


async def _referred(parts: Parts, caller: Caller, one: Any, at: str) -> Any:
    if not isinstance(one, dict):
        return one
    given = {name for name, value in one.items() if value is not None}
    # Their client may leave the type of a reference out, and of nothing else that is an id alone.
    if one.get("type") != "item_reference" and given != {"id"}:
        return one
    if given - {"type"} != {"id"}:
        raise InvalidInput(f"{at}: a reference has a type and an id, and nothing else", param=at)
    wanted = str(one["id"])
    # An item of an answer is named after its job (core/openai/response_output.py).
    named = wanted.partition("_")[2][:26]
    try:
        async with parts.db.single() as session:
            job, _ = await responses.get(session, caller, f"resp_{named}")
        return next(item.shown() for item in response_output.ended(job) if item.id == wanted)
    except (NotFound, StopIteration) as error:
        raise InvalidInput(
            f"{at}.id: {wanted[:64]!r} is no item of a stored response's output; send the item itself",
            param=f"{at}.id",
            code="item_not_found",
        ) from error


async def before(parts: Parts, caller: Caller, body: Prompted) -> Messages:
    """The conversation that `previous_response_id` ends. Raises InvalidInput."""
    if body.previous_response_id is None:
        return []
    try:
        async with parts.db.single() as session:
            job, record = await responses.get(session, caller, body.previous_response_id)
    except NotFound as error:
        raise InvalidInput(
            error.message, param="previous_response_id", code="previous_response_not_found"
        ) from error
    if job.state != State.SUCCEEDED:
        raise InvalidInput(
            f"{body.previous_response_id} is {response_answers.status(job)}: only a response that has an "
            "answer can be gone on from",
            param="previous_response_id",
        )
    # Its instructions are not carried over: each response has its own.
    said = list(job.spec["messages"])[1 if record.asked.get("instructions") else 0 :]
    output = [item.shown() for item in response_output.ended(job)]
    return said + response_items.messages(list(response_items.said(output)))


async def admitted(parts: Parts, model: Served, body: Ask, said: Messages) -> InferenceJob:
    """The job that answers the conversation, or as much of it as fits where that is allowed. Raises InvalidInput."""
    limit = body.max_output_tokens
    if limit is None:
        limit = parts.settings.chat_max_tokens or None

    async def fitted(some: Messages) -> InferenceJob:
        spec = body.job(some, 1 if limit is None else limit)
        if limit is None:
            return spec.model_copy(update={"max_tokens": await room(model, spec)})
        await admit_to(model, spec)
        return spec

    try:
        return await _shortened(body, said, fitted)
    except InvalidInput as error:
        raise renamed(error, NAMES) from error


async def tokens(model: Served, body: Prompted, said: Messages) -> int:
    """Tokens of the prompt of such a response. Raises InvalidInput."""

    async def fitted(some: Messages) -> int:
        spec = body.spec(some, {"max_tokens": 1})
        if body.truncation == "auto":
            await admit_to(model, spec)
        return await counted(model, spec)

    try:
        return await _shortened(body, said, fitted)
    except InvalidInput as error:
        raise renamed(error, NAMES) from error


async def _shortened(
    body: Prompted, said: Messages, fitted: Callable[[Messages], Awaitable[T]]
) -> T:
    """`fitted(said)`; with `truncation: "auto"` that of the longest end of it that the context holds."""
    try:
        return await fitted(said)
    except InvalidInput as error:
        if body.truncation != "auto" or error.code != TOO_LONG:
            raise
        too_long = error
    best: T | None = None
    places = response_items.cuts(said)
    while places:
        middle = len(places) // 2
        try:
            best = await fitted(said[places[middle] :])
            places = places[:middle]
        except InvalidInput as error:
            if error.code != TOO_LONG:
                raise
            places = places[middle + 1 :]
    if best is None:
        raise too_long
    return best
