"""Explanations over HTTP, on the scripted engine: equal to a slow loop, refused by name, charged, nobody else's."""

import math
from typing import Any

import httpx
import pytest

from core.catalog import tokenizer
from core.config import MODEL_FOLDER, Settings
from core.ids import new_id
from tests.asking import JOBS, ended, error, reached, submit
from tests.auditing import audited, graded, items
from tests.fakes.engine import ScriptedEngine
from tests.rig import Rig
from workers.engine import Request

PROMPT = "The nurse closed the old wooden door behind her and said that"
TEXT = tokenizer.load(str(MODEL_FOLDER))


async def explain(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The job once it has ended."""
    answer = await client.post(JOBS, json={"kind": "explain"} | fields)
    assert answer.status_code == 202, answer.text
    return await ended(client, answer.json()["id"])


async def slow(prompt: str, target: str) -> float:
    """Log probability of a target behind a prompt, asked alone, by an engine of our own."""
    engine = ScriptedEngine(Settings(_env_file=None))
    given, whole = TEXT.encode(prompt), TEXT.encode(prompt + target)
    request = Request(id=new_id("r"), prompt=whole, max_tokens=1, prompt_logprobs=0)
    chunks = [chunk async for chunk in engine.generate(request)]
    told = chunks[0].prompt_logprobs
    assert told is not None
    return sum(one.logprob for one in told[len(given) :] if one is not None)


async def test_effects_are_those_of_leaving_out_one_word_at_a_time(
    client: httpx.AsyncClient,
) -> None:
    job = await explain(client, prompt=PROMPT, target=" she was", swaps=[["nurse", "engineer"]])
    assert job["state"] == "succeeded", job["error"]
    result, words = job["result"], PROMPT.split()
    whole = await slow(PROMPT, " she was")
    assert [span["text"] for span in result["spans"]] == words
    for number, span in enumerate(result["spans"]):
        left = " ".join(words[:number] + words[number + 1 :])
        assert span["effect"] == pytest.approx(whole - await slow(left, " she was"), abs=1e-5), span
        dots = " ".join([*words[:number], "...", *words[number + 1 :]])
        assert span["other_baseline"] == pytest.approx(
            whole - await slow(dots, " she was"), abs=1e-5
        )
    swap = result["swaps"][0]
    swapped = await slow(PROMPT.replace("nurse", "engineer"), " she was")
    assert swap["effect"] == pytest.approx(whole - swapped, abs=1e-5)
    assert result["target"]["probability"] == pytest.approx(math.exp(whole), rel=1e-3)
    assert result["noise"] == 0.0
    assert result["alternatives"]["after"]["what"] == "nurse -> engineer"
    assert len(result["alternatives"]["before"]) == 5


async def test_without_a_target_the_models_own_answer_is_explained(
    client: httpx.AsyncClient,
) -> None:
    own = await submit(client, prompt=PROMPT, max_tokens=3, temperature=0)
    said = (await ended(client, own["id"]))["result"]["text"]
    job = await explain(client, prompt=PROMPT, answer_tokens=3)
    assert job["state"] == "succeeded", job["error"]
    assert job["result"]["target"]["source"] == "greedy"
    assert job["result"]["target"]["text"].strip() == said.strip()
    assert job["usage"]["completion_tokens"] == 3


async def test_messages_are_edited_within_their_template(client: httpx.AsyncClient) -> None:
    messages = [
        {"role": "system", "content": "You answer in one word."},
        {"role": "user", "content": "Who opened the door for us this morning?"},
    ]
    job = await explain(client, messages=messages, target="she", unit="word")
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert [one["role"] for one in result["text"]] == ["system", "user"]
    spans = {(span["part"], span["text"]) for span in result["spans"]}
    assert {(0, "answer"), (1, "door")} <= spans
    for span in result["spans"]:
        text = messages[span["part"]]["content"]
        assert text[span["begin"] : span["end"]] == span["text"]


async def test_a_contrast_asks_for_odds(client: httpx.AsyncClient) -> None:
    job = await explain(client, prompt=PROMPT, target=" she", contrast=" he", max_spans=4)
    assert job["state"] == "succeeded", job["error"]
    whole = await slow(PROMPT, " she") - await slow(PROMPT, " he")
    result = job["result"]
    assert len(result["spans"]) <= 4
    first = result["spans"][0]["text"]
    left = PROMPT.removeprefix(first).strip()
    expected = whole - (await slow(left, " she") - await slow(left, " he"))
    assert result["spans"][0]["effect"] == pytest.approx(expected, abs=1e-5)


async def test_it_tells_how_far_it_is_and_is_charged_for_what_it_asked(
    client: httpx.AsyncClient, key: str
) -> None:
    answer = await client.post(JOBS, json={"kind": "explain", "prompt": PROMPT, "target": " she"})
    job = await ended(client, answer.json()["id"])
    events = (await client.get(f"{JOBS}/{job['id']}/events", params={"limit": 1000})).json()["data"]
    phases = [event["data"]["phase"] for event in events if event["type"] == "progress"]
    assert phases[0] == "read"
    assert list(dict.fromkeys(phases)) == ["read", "score", "check"]
    # Each of the 12 words in two ways, the prompt twice, 21 sets: none without its tokens.
    questions = 2 * 12 + 2 + 21
    assert job["usage"]["prompt_tokens"] > questions * 8
    assert job["usage"]["total_tokens"] == job["usage"]["prompt_tokens"]
    assert job["usage"]["engine_seconds"] > 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, None),
        ({"prompt": PROMPT, "messages": [{"role": "user", "content": "x"}]}, None),
        ({"prompt": "   "}, None),
        ({"prompt": "?!"}, "prompt"),
        ({"prompt": PROMPT, "swaps": [["doctor", "teacher"]]}, "swaps.0"),
        ({"prompt": PROMPT, "swaps": [["nurse", "Nurse"]]}, "swaps"),
        ({"prompt": PROMPT, "max_spans": 33}, "max_spans"),
        ({"prompt": PROMPT, "target": ""}, "target"),
        ({"prompt": PROMPT, "target": " she", "contrast": " she"}, None),
        ({"prompt": "word " * 3000}, "prompt"),
        ({"prompt": PROMPT, "audit": {"id": "job_x", "suite": "bbq", "item": "1"}}, "audit.id"),
        ({"prompt": PROMPT, "model": "nobody"}, "model"),
    ],
)
async def test_what_cannot_be_explained_is_refused_before_it_is_a_job(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str | None
) -> None:
    answer = await client.post(JOBS, json={"kind": "explain"} | fields)
    told = error(answer, answer.status_code, param)
    assert answer.status_code in (400, 404, 422)
    assert told["message"]


async def test_an_item_of_an_audit_is_explained_as_it_was_asked(
    client: httpx.AsyncClient, rig: Rig
) -> None:
    audit = await audited(client, suites=[await graded(client, 4)], policy="none")
    item = (await items(client, audit["id"]))[0]
    wanted = {"id": audit["id"], "suite": "graded", "item": item["item"]}
    job = await explain(client, audit=wanted, answer_tokens=2)
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert result["audit"] == wanted
    assert result["target"]["source"] == "audit"
    assert item["answer"]["texts"][0].startswith(result["target"]["text"])
    assert all(one["text"] in item["prompt"] for one in result["text"])
    assert job["model"] == audit["model"]


async def test_an_item_that_no_audit_of_yours_has_is_refused_before_it_is_a_job(
    client: httpx.AsyncClient, rig: Rig
) -> None:
    audit = await audited(client, suites=[await graded(client, 4)], policy="none")
    item = (await items(client, audit["id"]))[0]
    wanted = {"id": audit["id"], "suite": "graded", "item": item["item"]}

    async def refused(by: httpx.AsyncClient, param: str, **other: Any) -> str:
        answer = await by.post(JOBS, json={"kind": "explain", "audit": wanted | other})
        told = error(answer, 404, param)
        assert told["code"] == "not_found"
        assert (await by.get(JOBS, params={"kind": "explain"})).json()["data"] == []
        return str(told["message"])

    assert "no answer to 'nothing'" in await refused(client, "audit.item", item="nothing")
    assert "did not ask 'bbq', but graded" in await refused(client, "audit.suite", suite="bbq")
    unknown = new_id("job")
    nobodys = await refused(client, "audit.id", id=unknown)
    # Another tenant's audit looks exactly like one that was never made.
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        theirs = await refused(stranger, "audit.id")
    assert theirs.replace(audit["id"], unknown) == nobodys


async def test_it_is_cancelled_while_it_runs(client: httpx.AsyncClient) -> None:
    # The scripted engine hangs at this mark after five tokens, which only an answer of its own reaches.
    spec = {"kind": "explain", "prompt": f"{PROMPT} [hang]", "answer_tokens": 32}
    job = (await client.post(JOBS, json=spec)).json()
    await reached(client, job["id"], "running")
    answer = await client.post(f"{JOBS}/{job['id']}/cancel")
    assert answer.status_code == 200
    done = await ended(client, job["id"])
    assert done["state"] == "cancelled"
    assert done["usage"]["completion_tokens"] == 0
