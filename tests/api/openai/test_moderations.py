"""/v1/moderations as OpenAI's own client uses it."""

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.classifiers import listed

MILD, BAD = "The river is cold today.", "I will hurt you, you stupid idiot, and burn your house."


async def test_texts_are_judged_one_by_one_by_the_classifier_of_the_settings(
    ai: AsyncOpenAI,
) -> None:
    done = await ai.moderations.create(input=[MILD, BAD])
    assert done.model == listed.classifier().name
    mild, bad = done.results
    assert not mild.flagged
    assert bad.flagged
    scores = listed.classifier().scores([MILD, BAD])
    assert mild.category_scores.violence == scores[0]["violence"]
    assert bad.category_scores.harassment == scores[1]["harassment"]
    assert bad.categories.harassment or bad.categories.harassment_threatening
    assert bad.category_applied_input_types.harassment == ["text"]


async def test_what_a_classifier_does_not_judge_is_null_and_not_harmless(ai: AsyncOpenAI) -> None:
    (found,) = (await ai.moderations.create(input=MILD, model="omni-moderation-latest")).results
    raw: dict[str, Any] = found.to_dict()
    assert raw["categories"]["sexual/minors"] is None
    assert raw["category_scores"]["sexual/minors"] is None
    assert found.category_applied_input_types.sexual_minors == []


async def test_parts_of_one_input_are_judged_together(ai: AsyncOpenAI) -> None:
    parts = [{"type": "text", "text": MILD}, {"type": "text", "text": BAD}]
    done = await ai.moderations.create(input=parts)  # type: ignore[arg-type]
    assert [one.flagged for one in done.results] == [True]


async def test_a_classifier_may_be_named_and_no_code(ai: AsyncOpenAI) -> None:
    done = await ai.moderations.create(input="I cannot help with that.", model="penstock-refusal@1")
    assert done.model == "penstock-refusal@1"
    with pytest.raises(openai.BadRequestError, match="no classifier here") as caught:
        await ai.moderations.create(input="x", model="os:getcwd")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ({}, "input", "required"),
        ({"input": []}, "input", "1 to 1000 texts"),
        ({"input": 7}, "input", "a list of texts"),
        ({"input": "x", "other": 1}, "other", ""),
        ({"input": "x" * 1_000_001}, "input", "fewer at once"),
        ({"input": [{"type": "image_url", "image_url": {"url": "u"}}]}, "input", "only text"),
    ],
)
async def test_what_cannot_be_judged_is_refused_by_name(
    client: httpx.AsyncClient, body: dict[str, object], param: str, told: str
) -> None:
    answer = await client.post("/v1/moderations", json=body)
    assert answer.status_code in (400, 422), answer.text
    error = answer.json()["error"]
    assert str(error["param"]).startswith(param)
    assert told in error["message"]


async def test_without_a_key_nothing_is_judged(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/moderations", json={"input": "x"}, headers={"authorization": ""}
    )
    assert answer.status_code == 401
