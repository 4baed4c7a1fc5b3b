"""Explanations by the real engine on the shipped model: batched likelihoods equal a slow loop that says each token."""

import pytest

from core.ids import new_id
from tests.workers import lone
from tests.workers.real_engine import TEXT
from workers.engine import Engine, Request
from workers.explain.handler import handle

pytestmark = [
    pytest.mark.engine,
    # vLLM leaves a context of zmq open, and says so whenever it is collected.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROMPT = "The old river runs slowly through the green valley and the people"
TARGET = " of the"


async def slow(engine: Engine, prompt: str) -> float:
    """The target forced upon the model token by token: the road of answers, not that of prompts."""
    given = TEXT.encode(prompt)
    target = TEXT.encode(prompt + TARGET)[len(given) :]
    request = Request(
        id=new_id("r"), prompt=given, max_tokens=len(target), forced=tuple(target), logprobs=0
    )
    said = [one async for chunk in engine.generate(request) for one in chunk.logprobs]
    return sum(one.logprob for one in said)


async def test_effects_of_the_real_model_are_those_of_asking_one_by_one(engine: Engine) -> None:
    spec = {"kind": "explain", "prompt": PROMPT, "target": TARGET, "swaps": [["river", "engine"]]}
    of = lone.worker(engine)
    result, usage = await handle(of, lone.attempt(of, spec))
    words, whole = PROMPT.split(), await slow(engine, PROMPT)
    assert [span["text"] for span in result["spans"]] == words
    for number, span in enumerate(result["spans"]):
        left = " ".join(words[:number] + words[number + 1 :])
        assert span["effect"] == pytest.approx(whole - await slow(engine, left), abs=2e-3), span
    swapped = whole - await slow(engine, PROMPT.replace("river", "engine"))
    assert result["swaps"][0]["effect"] == pytest.approx(swapped, abs=2e-3)
    assert result["noise"] < 1e-3
    assert result["faithfulness"]["random"]["draws"] == 20
    assert usage["prompt_tokens"] > 40 * len(words)


async def test_the_models_own_answer_is_its_likeliest(engine: Engine) -> None:
    of = lone.worker(engine)
    result, _ = await handle(
        of, lone.attempt(of, {"kind": "explain", "prompt": PROMPT, "max_spans": 4})
    )
    assert result["target"]["source"] == "greedy"
    likeliest = result["alternatives"]["before"][0]
    assert result["target"]["text"] == likeliest["text"]
    assert result["target"]["probability"] == pytest.approx(likeliest["probability"], rel=1e-3)
