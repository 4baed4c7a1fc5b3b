"""Models through OpenAI's own client."""

import openai
import pytest
from openai import AsyncOpenAI

from core.catalog.digest import digest_of
from core.config import MODEL_FOLDER


async def test_models_are_listed_and_retrieved(ai: AsyncOpenAI) -> None:
    listed = [model async for model in ai.models.list()]
    (rill,) = [m for m in listed if m.id == "rill"]
    assert (rill.object, rill.owned_by) == ("model", "penstock")
    assert rill.created > 1_700_000_000
    assert (rill.model_extra or {})["digest"] == digest_of(str(MODEL_FOLDER))
    assert await ai.models.retrieve("rill") == rill
    assert (await ai.models.retrieve("1B")).id == "rill"


async def test_an_unknown_model_is_not_found_by_every_route(ai: AsyncOpenAI) -> None:
    for ask in (
        lambda: ai.models.retrieve("gone/away"),
        lambda: ai.models.delete("gone"),
        lambda: ai.chat.completions.create(
            model="gone", messages=[{"role": "user", "content": "x"}]
        ),
        lambda: ai.completions.create(model="gone", prompt="x"),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            await ask()
        assert raised.value.code == "model_not_found"
        assert raised.value.param == "model"


async def test_deleting_is_refused_by_name(ai: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not supported") as raised:
        await ai.models.delete("rill")
    assert raised.value.code == "unsupported"
