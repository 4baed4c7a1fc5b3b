"""The real engine behind the seam: forms, log probabilities, and answers that walk their way again."""

import asyncio
import json
import math
from typing import Any

import jsonschema
import pytest

from tests.workers.real_engine import PROMPT, TEXT, said
from workers.engine import Engine

pytestmark = [
    pytest.mark.engine,
    # vLLM leaves a context of zmq open, and says so whenever it is collected.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "n": {"type": "integer", "minimum": 0, "maximum": 999},
        "tags": {"type": "array", "items": {"enum": ["a", "bb"]}, "minItems": 2, "maxItems": 4},
    },
    "required": ["name", "n", "tags"],
    "additionalProperties": False,
}
WALKS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 7, "temperature": 1.0, "max_tokens": 30},
    "penalties": {"frequency_penalty": 1.5, "presence_penalty": 0.7, "max_tokens": 40},
    "everything": {
        "seed": 3, "temperature": 0.8, "repetition_penalty": 1.3, "frequency_penalty": 0.5,
        "min_tokens": 30, "max_tokens": 40, "top_k": 20, "top_p": 0.9, "min_p": 0.01,
    },
    "schema": {"seed": 5, "temperature": 1.0, "form": {"json_schema": SCHEMA}, "max_tokens": 120},
    "regex": {"seed": 5, "temperature": 1.0, "form": {"regex": "[a-c]{5}-[0-9]{3}"}, "max_tokens": 30},
}  # fmt: skip


@pytest.mark.parametrize("name", WALKS)
async def test_an_answer_forced_to_any_point_goes_on_as_it_did(engine: Engine, name: str) -> None:
    calm = await said(engine, **WALKS[name])
    again = await asyncio.gather(
        *(
            said(engine, **WALKS[name], forced=tuple(calm.tokens[:cut]))
            for cut in range(1, len(calm.tokens))
        )
    )
    assert len(again) > 7
    for cut, one in enumerate(again, 1):
        assert (one.tokens, one.text, one.finish) == (calm.tokens, calm.text, calm.finish), cut


async def test_without_that_a_form_begins_anew(engine: Engine) -> None:
    """Why it is done: the test above could not fail if this did not."""
    calm = await said(engine, **WALKS["schema"])
    half = calm.tokens[: len(calm.tokens) // 2]
    behind = await said(engine, **(WALKS["schema"] | {"prompt": PROMPT + half}))
    assert behind.tokens != calm.tokens[len(half) :]
    assert behind.text.startswith("{")


async def test_forms_are_met(engine: Engine) -> None:
    meant = await said(engine, **WALKS["schema"])
    jsonschema.validate(json.loads(meant.text), SCHEMA)
    assert " " not in meant.text.replace(json.loads(meant.text)["name"], "")
    chosen = await said(engine, form={"choice": ["yes indeed", "no never"]}, max_tokens=20)
    assert chosen.text in ("yes indeed", "no never")


async def test_logprobs_come_with_each_token_and_the_prompts(engine: Engine) -> None:
    one = await said(engine, max_tokens=6, logprobs=3, prompt_logprobs=2)
    assert [likely.token for likely in one.logprobs] == one.tokens
    for likely in one.logprobs:
        assert len(likely.top) == 3
        # Greedy: the chosen one is the best.
        assert likely.top[0] == (likely.token, likely.logprob)
        assert sum(math.exp(logprob) for _, logprob in likely.top) <= 1 + 1e-6
    assert one.prompt_logprobs is not None
    assert one.prompt_logprobs[0] is None
    told = [likely.token for likely in one.prompt_logprobs if likely is not None]
    assert told == PROMPT[1:]


async def test_a_prompt_that_was_there_before_is_cached_for_its_tenant_alone(
    engine: Engine,
) -> None:
    long = TEXT.encode("The river runs past the old mill and the wind is in the trees. " * 20)
    first = await said(engine, prompt=long, max_tokens=1, scope="a")
    again = await said(engine, prompt=long, max_tokens=1, scope="a")
    other = await said(engine, prompt=long, max_tokens=1, scope="b")
    assert first.cached == other.cached == 0
    assert again.cached is not None
    assert again.cached > len(long) // 2


async def test_a_bias_decides(engine: Engine) -> None:
    one = await said(engine, max_tokens=5, logit_bias={400: 100.0})
    assert one.tokens == [400] * 5
