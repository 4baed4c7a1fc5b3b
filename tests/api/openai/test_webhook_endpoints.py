"""Webhook endpoints with OpenAI's own client: made, changed, listed, tested, rotated; what arrives, it unwraps."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from core.events.types import BATCH_ENDED, EVAL_RUNS, FACTS, FINE_TUNED, GUARD, MODELS, RESPONSES
from tests.api.openai.test_responses import ASKED, whole
from tests.fakes.receiver import Receiver, Request, receiver, reply

PREFIX = {"job": "job_", "batch": "batch_", "response": "resp_", "fine_tuning": "ftjob-",
          "model": "ft:", "eval": "evalrun_", "guard": "guardwatch_"}  # fmt: skip


def unwrapped(ai: AsyncOpenAI, secret: str, request: Request) -> Any:
    return ai.webhooks.unwrap(request.body, request.headers, secret=secret)


async def made(ai: AsyncOpenAI, there: Receiver, **fields: Any) -> Any:
    new: Any = {"name": "n", "url": there.url, "event_types": ["response.incomplete"]}
    return await ai.webhooks.create(**new | fields)


async def test_an_endpoint_is_told_of_a_response(ai: AsyncOpenAI) -> None:
    async with receiver() as there:
        endpoint = await made(ai, there)
        said = await whole(ai, (await ai.responses.create(**ASKED, background=True)).id)
        await there.until(1)
    event = unwrapped(ai, endpoint.signing_secret, there.requests[0])
    assert (event.type, event.object) == ("response.incomplete", "event")
    assert event.data.id == said.id


async def test_every_type_that_is_listed_can_be_tested(ai: AsyncOpenAI) -> None:
    listed = await ai.webhooks.event_types.list()
    ours = (*FACTS, *BATCH_ENDED, *RESPONSES, *FINE_TUNED, *MODELS, *EVAL_RUNS, *GUARD)
    assert listed.data == list(ours)
    async with receiver() as there:
        endpoint = await made(ai, there)
        for kind in listed.data:
            tested = await ai.webhooks.test(endpoint.id, event_type=kind)  # type: ignore[arg-type]
            assert (tested.event_type, tested.success, tested.status_code) == (kind, True, 200)
            assert tested.webhook_endpoint_id == endpoint.id
    for kind, request in zip(listed.data, there.requests, strict=True):
        event = unwrapped(ai, endpoint.signing_secret, request)
        assert event.type == kind
        assert event.data.id.startswith(PREFIX[kind.partition(".")[0]])


async def test_a_test_that_is_not_taken_raises_once(ai: AsyncOpenAI) -> None:
    async with receiver() as there:
        endpoint = await made(ai, there)
        there.always = reply(410)
        with pytest.raises(openai.ConflictError) as raised:
            await ai.webhooks.test(endpoint.id, event_type="batch.failed")
    assert raised.value.code == "test_failed"
    assert len(there.requests) == 1


async def test_endpoints_are_changed_listed_and_deleted(ai: AsyncOpenAI) -> None:
    async with receiver() as first, receiver() as second:
        ids = [(await made(ai, first, name=str(n))).id for n in range(5)]
        page = await ai.webhooks.list(limit=2)
        assert [e.id for e in page.data] == ids[:2:-1]
        assert [e.id async for e in page] == ids[::-1]
        assert [e.id async for e in ai.webhooks.list(after=ids[2])] == ids[1::-1]
        changed = await ai.webhooks.update(
            ids[0], name="new", url=second.url, event_types=["batch.completed"]
        )
        assert await ai.webhooks.retrieve(ids[0]) == changed
        assert (changed.name, changed.url) == ("new", second.url)
        assert changed.event_types == ["batch.completed"]
        assert (changed.updated_at or 0) >= changed.created_at
        await ai.webhooks.test(ids[0], event_type="batch.completed")
        assert (len(first.requests), len(second.requests)) == (0, 1)
        assert (await ai.webhooks.delete(ids[0])).deleted
        with pytest.raises(openai.NotFoundError):
            await ai.webhooks.retrieve(ids[0])
        with pytest.raises(openai.UnprocessableEntityError) as raised:
            await made(ai, first, event_types=["video.completed"])
    assert raised.value.param == "event_types"


async def test_a_rotated_secret_signs_beside_the_old_one_or_alone(ai: AsyncOpenAI) -> None:
    async with receiver() as there:
        endpoint = await made(ai, there)
        rotate: Any = ai.webhooks.rotate_secret
        both = await rotate(endpoint.id, keep_old_secret_active_for_24_hours=True)
        await ai.webhooks.test(endpoint.id, event_type="batch.failed")
        alone = await rotate(endpoint.id)
        await ai.webhooks.test(endpoint.id, event_type="batch.failed")
    assert both.signing_secret_hint != endpoint.signing_secret_hint
    for secret in (endpoint.signing_secret, both.signing_secret):
        assert unwrapped(ai, secret, there.requests[0]).type == "batch.failed"
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrapped(ai, secret, there.requests[1])
    assert unwrapped(ai, alone.signing_secret, there.requests[1]).type == "batch.failed"
