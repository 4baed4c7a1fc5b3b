"""/v1/responses in a batch: answered as the route answers, but for what needs a response that is kept."""

from typing import Any

from openai import AsyncOpenAI

from tests.api.openai.batching import begin, content, ended
from tests.api.openai.test_responses import ASKED, FUNCTION

PATH = "/v1/responses"
FORM = {"format": {"type": "json_schema", "name": "a", "schema": {"enum": ["yes"]}}}


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": PATH, "body": ASKED | body}


async def test_lines_are_answered_as_the_route_answers(ai: AsyncOpenAI) -> None:
    wishes: dict[str, dict[str, Any]] = {
        "plain": {"metadata": {"a": "b"}, "instructions": "Be brief."},
        "told": {"top_logprobs": 1},
        "form": {"text": FORM},
        "call": {"tools": [FUNCTION], "tool_choice": "required", "max_output_tokens": 60},
        "items": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
    }
    lines = [line(name, **wish) for name, wish in wishes.items()]
    batch = await ended(ai, (await begin(ai, lines, endpoint=PATH)).id)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    told = {one["custom_id"]: one["response"] for one in await content(ai, batch.output_file_id)}
    assert told.keys() == wishes.keys()
    ids = set()
    for name, wish in wishes.items():
        body, asked = told[name]["body"], await ai.responses.create(**ASKED | wish)
        direct = asked.to_dict()
        assert told[name]["status_code"] == 200
        assert body["object"] == "response"
        # Of another job at another time, not to be read again; all else is the same.
        ids |= {body["id"], *(item["id"] for item in body["output"])}
        for one in (body, direct):
            for own in ("id", "created_at", "completed_at"):
                one.pop(own)
            for item in one["output"]:
                item.pop("id")
                item.pop("call_id", None)
        assert (body.pop("store"), direct.pop("store")) == (False, True)
        assert body == direct
    assert len(ids) == 2 * len(wishes)
    assert batch.usage is not None
    assert batch.usage.output_tokens == sum(
        one["body"]["usage"]["output_tokens"] for one in told.values()
    )


async def test_what_needs_a_kept_response_is_refused_by_name(ai: AsyncOpenAI) -> None:
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "background": ({"background": True}, "background"),
        "stream": ({"stream": True}, "stream"),
        "store": ({"store": True}, "store"),
        "previous": ({"previous_response_id": "resp_" + "0" * 26}, "previous_response_id"),
        "truncation": ({"truncation": "auto"}, "truncation"),
        "options": ({"background_options": {"completion_window": "2h"}}, "background_options"),
        "reference": ({"input": [{"type": "item_reference", "id": "msg_x"}]}, "input.0.type"),
        "conversation": ({"conversation": "conv_1"}, "conversation"),
        "key": ({"idempotency_key": "k"}, "idempotency_key"),
        "limit": ({"max_output_tokens": 100_000}, "max_output_tokens"),
    }
    lines = [line(name, **body) for name, (body, _) in wrong.items()]
    lines.append(line("good", store=False, background=False))
    batch = await ended(ai, (await begin(ai, lines, endpoint=PATH)).id)
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, len(wrong))
    told = {one["custom_id"]: one["response"] for one in await content(ai, batch.error_file_id)}
    for name, (_, param) in wrong.items():
        assert told[name]["status_code"] == 400
        assert told[name]["body"]["error"]["param"] == param
