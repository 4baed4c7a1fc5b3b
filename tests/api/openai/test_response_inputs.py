"""What a response is asked to answer: references, refusals, phases; what is dropped; what is listed again."""

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.db.session import Database
from tests import asking
from tests.api.openai.test_responses import ASKED, FUNCTION, PATH, messages

PART = {"type": "input_text", "text": "And then?"}


async def test_items_are_referred_to_by_their_ids(ai: AsyncOpenAI, db: Database) -> None:
    first = await ai.responses.create(**ASKED)
    must: Any = {"max_output_tokens": 60, "tools": [FUNCTION], "tool_choice": "required"}
    called = await ai.responses.create(**ASKED | must)
    call: Any = called.output[0]
    back: Any = [
        {"role": "user", "content": ASKED["input"]},
        {"type": "item_reference", "id": first.output[0].id},
        {"id": call.id},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    said = await ai.responses.create(**ASKED | {"input": back})
    user, assistant, tool = await messages(db, said.id)
    assert (user["role"], assistant["role"], tool["role"]) == ("user", "assistant", "tool")
    assert assistant["content"] == first.output_text
    assert assistant["tool_calls"][0]["function"]["arguments"] == call.arguments
    listed = [item async for item in ai.responses.input_items.list(said.id, order="asc")]
    assert [item.id for item in listed[1:3]] == [first.output[0].id, call.id]


async def test_what_a_reference_does_not_find_is_refused(ai: AsyncOpenAI, rig: Any) -> None:
    theirs = await ai.responses.create(**ASKED)
    deleted = await ai.responses.create(**ASKED)
    await ai.responses.delete(deleted.id)
    ids = [deleted.output[0].id, "msg_nothing", "", theirs.output[0].id + "9"]
    for wrong in ids:
        back: Any = [{"type": "item_reference", "id": wrong}]
        with pytest.raises(openai.BadRequestError) as raised:
            await ai.responses.create(**ASKED | {"input": back})
        assert (raised.value.param, raised.value.code) == ("input.0.id", "item_not_found")
    async with rig.client(await rig.key("t-other-references")) as other:
        item = {"type": "item_reference", "id": theirs.output[0].id}
        asking.error(await other.post(PATH, json=ASKED | {"input": [item]}), 400, "input.0.id")


async def test_refusals_and_phases_of_an_assistant_are_taken_back(
    ai: AsyncOpenAI, db: Database
) -> None:
    back: Any = [
        {"type": "message", "role": "assistant", "phase": "commentary",
         "content": [{"type": "output_text", "text": "Well.", "annotations": []}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]},
        {"role": "user", "content": [PART]},
    ]  # fmt: skip
    said = await ai.responses.create(**ASKED | {"input": back})
    assert [m["content"] for m in await messages(db, said.id)] == [
        "Well.", "I will not.", "And then?",
    ]  # fmt: skip
    listed: list[Any] = [i async for i in ai.responses.input_items.list(said.id, order="asc")]
    assert listed[0].phase == "commentary"
    assert listed[1].content[0].refusal == "I will not."


async def test_an_answer_says_its_phase_once_that_is_known(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "a", "schema": {"enum": ["yes"]}}}
    events = [e async for e in await ai.responses.create(**ASKED, text=form, stream=True)]
    items: list[Any] = [e.item for e in events if hasattr(e, "item")]
    assert [item.phase for item in items] == [None, "final_answer"]
    cut: Any = (await ai.responses.create(**ASKED)).output[0]
    assert cut.phase is None
    body = ASKED | {"input": [{"role": "user", "content": "x", "phase": "final_answer"}]}
    asking.error(await client.post(PATH, json=body), 400, "input.0.phase")


async def test_truncation_drops_the_oldest_until_the_rest_fits(
    ai: AsyncOpenAI, db: Database
) -> None:
    turns: list[Any] = []
    for number in range(60):
        turns += [
            {"role": "user", "content": f"{number}: " + "river " * 40},
            {"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"c{number}", "output": "rain " * 10},
        ]
    asked: Any = ASKED | {"input": turns, "instructions": "Be brief."}
    with pytest.raises(openai.BadRequestError) as raised:
        await ai.responses.create(**asked)
    assert raised.value.code == "context_length_exceeded"
    said = await ai.responses.create(**asked, truncation="auto")
    assert said.truncation == "auto"
    kept = await messages(db, said.id)
    assert kept[0] == {"role": "system", "content": "Be brief."}
    assert kept[1]["role"] in ("user", "assistant"), "never the answer to a call that was dropped"
    assert kept[-1]["content"] == ("rain " * 10)
    assert 3 < len(kept) < len(turns)
    # As much as fits: a turn has about two hundred tokens.
    assert said.usage is not None
    counted = await ai.responses.input_tokens.count(
        model="rill", input=turns, instructions="Be brief.", truncation="auto"
    )
    assert 2048 - 12 - 200 < said.usage.input_tokens <= 2048 - 12
    assert counted.input_tokens >= said.usage.input_tokens
    endless: Any = ASKED | {"input": "river " * 5000}
    with pytest.raises(openai.BadRequestError):
        await ai.responses.create(**endless, truncation="auto")


async def test_input_is_listed_page_by_page(ai: AsyncOpenAI) -> None:
    turns: Any = [{"role": "user", "content": str(number)} for number in range(7)]
    said = await ai.responses.create(**ASKED | {"input": turns})
    for order in ("asc", "desc"):
        page = await ai.responses.input_items.list(said.id, limit=3, order=order)
        assert (len(page.data), page.has_more) == (3, True)
        found: list[Any] = [item async for item in page]
        texts = [item.content[0].text for item in found]
        assert texts == sorted(texts, reverse=order == "desc")
        assert len({item.id for item in found}) == 7
    with pytest.raises(openai.BadRequestError) as raised:
        await ai.responses.input_items.list(said.id, after="msg_nothing")
    assert raised.value.param == "after"


async def test_log_probabilities_come_with_the_deltas_they_end_in(ai: AsyncOpenAI) -> None:
    live = [e async for e in await ai.responses.create(**ASKED, top_logprobs=2, stream=True)]
    deltas: list[Any] = [e for e in live if e.type == "response.output_text.delta"]
    told = [one.token for e in deltas for one in e.logprobs]
    done: Any = next(e for e in live if e.type == "response.output_text.done")
    assert told == [one.token for one in done.logprobs]
    assert "".join(told) == done.text
    said = ""
    heard = ""
    for e in deltas:
        said += e.delta
        heard += "".join(one.token for one in e.logprobs)
        assert said.startswith(heard), "no probability before its token's text"
        assert all(len(one.top_logprobs) == 2 for one in e.logprobs)
    final: Any = live[-1]
    kept = await ai.responses.create(**ASKED | {"input": final.response.output})
    for include, there in ((["message.output_text.logprobs"], True), ([], False)):
        items: Any = await ai.responses.input_items.list(kept.id, include=include)  # type: ignore[arg-type]
        part = items.data[0].content[0]
        assert (getattr(part, "logprobs", None) is not None) == there
    again = await ai.responses.retrieve(
        final.response.id, include=["message.output_text.logprobs"], stream=True
    )
    assert [e.to_dict() async for e in again] == [e.to_dict() for e in live]
