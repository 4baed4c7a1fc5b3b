"""/v1/responses with OpenAI's own client: made at once, in the background, followed, gone on from."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.db.session import Database
from core.jobs.job import Job
from tests import asking
from tests.asking import JOBS, LONG
from tests.waiting import eventually

PATH = "/v1/responses"
ASKED: dict[str, Any] = {"model": "rill", "input": "Tell me of the river.", "max_output_tokens": 12}
FUNCTION: dict[str, Any] = {
    "type": "function", "name": "weather", "strict": True,
    "parameters": {"type": "object", "properties": {"town": {"enum": ["Ulm", "Bern"]}},
                   "required": ["town"], "additionalProperties": False},
}  # fmt: skip


async def whole(ai: AsyncOpenAI, response_id: str) -> Any:
    """The response once it has ended."""

    async def ended() -> Any:
        found = await ai.responses.retrieve(response_id)
        return found if found.status not in ("queued", "in_progress") else None

    return await eventually(ended, f"{response_id} ended")


async def messages(db: Database, response_id: str) -> list[dict[str, Any]]:
    """What the model was given."""
    async with db.single() as session:
        job = await session.get_one(Job, response_id.replace("resp_", "job_"))
        return list(job.spec["messages"])


async def events(
    client: httpx.AsyncClient, response_id: str, after: int | None = None
) -> list[Any]:
    """The replay of a response above a number."""
    query = {"stream": "true"} | ({} if after is None else {"starting_after": str(after)})
    found = []
    async with client.stream("GET", f"{PATH}/{response_id}", params=query) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            assert not line.startswith(("id:", "retry:"))
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
    return found


async def test_a_response_is_an_ordinary_job(
    ai: AsyncOpenAI, client: httpx.AsyncClient, db: Database
) -> None:
    said = await ai.responses.create(
        **ASKED, metadata={"a": "b"}, instructions="Be brief.", user="u"
    )
    assert said.status == "incomplete"
    assert said.incomplete_details is not None
    assert said.incomplete_details.reason == "max_output_tokens"
    assert said.usage is not None
    assert said.usage.output_tokens == 12
    assert (said.metadata, said.instructions, said.user) == ({"a": "b"}, "Be brief.", "u")
    job = await asking.get(client, said.id.replace("resp_", "job_"))
    assert job["result"]["text"] == said.output_text
    assert [m["role"] for m in await messages(db, said.id)] == ["system", "user"]
    assert (await ai.responses.retrieve(said.id)).model_dump() == said.model_dump()


async def test_a_background_response_is_polled(ai: AsyncOpenAI) -> None:
    said = await ai.responses.create(**ASKED, background=True)
    assert said.status == "queued"
    assert said.background
    done = await whole(ai, said.id)
    assert done.status == "incomplete"
    assert done.output[0].content[0].text


async def test_streamed_and_replayed_from_every_number(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    live = [event async for event in await ai.responses.create(**ASKED, stream=True)]
    assert [e.sequence_number for e in live] == list(range(len(live)))
    assert [e.type for e in live[:5]] == [
        "response.created", "response.queued", "response.in_progress", "response.output_item.added",
        "response.content_part.added",
    ]  # fmt: skip
    last = live[-1]
    assert last.type == "response.incomplete"
    assert "".join(e.delta for e in live if e.type == "response.output_text.delta") == (
        last.response.output_text
    )
    replay = await events(client, last.response.id)
    assert [(e["type"], e["sequence_number"]) for e in replay] == [
        (e.type, e.sequence_number) for e in live
    ]
    for number in range(len(replay)):
        assert await events(client, last.response.id, number) == replay[number + 1 :]


async def test_fifty_events_are_replayed_as_they_were(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    asked = ASKED | {"max_output_tokens": 60}
    live = [e async for e in await ai.responses.create(**asked, background=True, stream=True)]
    last: Any = live[-1]
    after = last.sequence_number - 50
    again = await ai.responses.retrieve(last.response.id, stream=True, starting_after=after)
    replay = [event async for event in again]
    assert len(replay) == 50
    assert [e.to_dict() for e in replay] == [e.to_dict() for e in live[after + 1 :]]


async def test_the_clients_helper_streams_and_resumes(ai: AsyncOpenAI) -> None:
    # An answer of this form ends by itself, long before its limit.
    fmt: Any = {"format": {"type": "json_schema", "name": "a", "schema": {"enum": ["yes", "no"]}}}
    async with ai.responses.stream(
        model="rill", input="Well?", text=fmt, background=True
    ) as stream:
        seen = [event async for event in stream]
        done = await stream.get_final_response()
    assert done.status == "completed"
    assert done.output_text in ('"yes"', '"no"')
    assert done.completed_at is not None
    async with ai.responses.stream(response_id=done.id, starting_after=4) as again:
        rest = [event async for event in again]
    assert [e.sequence_number for e in rest] == [
        e.sequence_number for e in seen if e.sequence_number > 4
    ]


async def test_cancelling_is_for_background_and_idempotent(ai: AsyncOpenAI) -> None:
    said = await ai.responses.create(**ASKED | {"max_output_tokens": LONG}, background=True)
    stopped = await ai.responses.cancel(said.id)
    assert stopped.status == "cancelled"
    assert (await ai.responses.cancel(said.id)).status == "cancelled"
    both = await asyncio.gather(*(ai.responses.cancel(said.id) for _ in range(4)))
    assert {one.status for one in both} == {"cancelled"}
    done = await whole(ai, (await ai.responses.create(**ASKED, background=True)).id)
    assert (await ai.responses.cancel(done.id)).model_dump() == done.model_dump()
    at_once = await ai.responses.create(**ASKED)
    with pytest.raises(openai.BadRequestError):
        await ai.responses.cancel(at_once.id)
    await ai.responses.delete(said.id)
    for again in (ai.responses.cancel, ai.responses.delete, ai.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            await again(said.id)


async def test_deleted_and_unstored_ones_are_not_found(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    said = await ai.responses.create(**ASKED | {"max_output_tokens": LONG}, background=True)
    await ai.responses.delete(said.id)
    unstored = await ai.responses.create(**ASKED, store=False)
    for gone in (said.id, unstored.id, "resp_nothing", "job_nothing"):
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(gone)
    job = await asking.ended(client, said.id.replace("resp_", "job_"))
    assert job["state"] == "cancelled"


async def test_a_client_that_leaves_cancels_unless_in_the_background(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    ids = {}
    for background in (False, True):
        stream = await ai.responses.create(
            **ASKED | {"max_output_tokens": 300}, background=background, stream=True
        )
        first = await anext(aiter(stream))
        await stream.close()
        ids[background] = first.response.id.replace("resp_", "job_")
    assert (await asking.ended(client, ids[False]))["state"] == "cancelled"
    assert (await asking.ended(client, ids[True]))["state"] == "succeeded"


async def test_a_conversation_goes_on(ai: AsyncOpenAI, db: Database) -> None:
    first = await ai.responses.create(**ASKED, instructions="Be brief.")
    second = await ai.responses.create(
        **ASKED | {"input": "And then?"}, previous_response_id=first.id, instructions="Be loud."
    )
    assert [(m["role"], m["content"]) for m in await messages(db, second.id)] == [
        ("system", "Be loud."), ("user", ASKED["input"]), ("assistant", first.output_text),
        ("user", "And then?"),
    ]  # fmt: skip
    items = [item async for item in ai.responses.input_items.list(second.id)]
    assert [item.type for item in items] == ["message"]
    with pytest.raises(openai.BadRequestError) as raised:
        await ai.responses.create(**ASKED, previous_response_id="resp_" + "0" * 26)
    assert raised.value.code == "previous_response_not_found"


async def test_another_tenants_response_is_not_there(ai: AsyncOpenAI, rig: Any) -> None:
    said = await ai.responses.create(**ASKED)
    async with rig.client(await rig.key("t-other-responses")) as other:
        asking.error(await other.get(f"{PATH}/{said.id}"), 404)
        asking.error(await other.delete(f"{PATH}/{said.id}"), 404)
        body = ASKED | {"previous_response_id": said.id}
        asking.error(await other.post(PATH, json=body), 400, "previous_response_id")


async def test_functions_are_called_and_answered(ai: AsyncOpenAI, db: Database) -> None:
    asked = ASKED | {"max_output_tokens": 60, "tools": [FUNCTION]}
    choices: list[Any] = [{"type": "function", "name": "weather"}, "required"]
    for choice in choices:
        said = await ai.responses.create(**asked, tool_choice=choice)
        (call,) = said.output
        assert (call.type, said.status) == ("function_call", "completed")
        assert json.loads(call.arguments)["town"] in ("Ulm", "Bern")
        stream = [
            e async for e in await ai.responses.create(**asked, tool_choice=choice, stream=True)
        ]
        told = [e.delta for e in stream if e.type == "response.function_call_arguments.delta"]
        assert "".join(told) == stream[-1].response.output[0].arguments
        assert [e.sequence_number for e in stream] == list(range(len(stream)))
    back = [
        *said.output,
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    more = await ai.responses.create(**ASKED | {"input": back})
    assert [m["role"] for m in await messages(db, more.id)] == ["assistant", "tool"]
    after = await ai.responses.create(**ASKED | {"input": back[1:]}, previous_response_id=said.id)
    assert [m["role"] for m in await messages(db, after.id)] == ["user", "assistant", "tool"]


async def test_log_probabilities_and_counts(ai: AsyncOpenAI) -> None:
    said = await ai.responses.create(
        **ASKED, include=["message.output_text.logprobs"], top_logprobs=2
    )
    told = said.output[0].content[0].logprobs
    assert "".join(t.token for t in told) == said.output_text
    assert all(len(t.top_logprobs) == 2 for t in told)
    counted = await ai.responses.input_tokens.count(model="rill", input=ASKED["input"])
    assert said.usage is not None
    assert counted.input_tokens == said.usage.input_tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "middle"}, "truncation"),
        ({"input": [{"type": "item_reference", "id": "x", "role": "user"}]}, "input.0"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0.id"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input.0.content.0.type",
        ),
        ({"input": [{"role": "user", "content": "x", "colour": 1}]}, "input.0.colour"),
        ({"include": ["reasoning.encrypted_content"]}, "include.0"),
        ({"background": True, "store": False}, "store"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"user": "a\0b"}, "user"),
        ({"input": [{"role": "user", "content": "x", "id": "\0"}]}, "input"),
        ({"whatever": 1}, "whatever"),
    ],
)
async def test_what_is_not_supported_is_refused_by_name(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    asking.error(await client.post(PATH, json=ASKED | fields), 400, param)
    assert (await client.get(JOBS)).json()["data"] == []
