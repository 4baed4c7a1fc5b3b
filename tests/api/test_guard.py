"""The guard over HTTP: set, counted, and in force on every way out, from the next job on and without a restart."""

import json
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import text as sql

from core.db.session import Database
from core.ids import new_id
from core.security.keys import RISK_OWNER
from tests.api.openai import batching
from tests.asking import ended, error, run, submit
from tests.rig import Rig
from tests.waiting import eventually

PROMPT = "Guard the river"


@pytest.fixture
async def key(rig: Rig) -> str:
    """Of an owner, who may lower the guard again."""
    return await rig.key(new_id("t"), roles=[RISK_OWNER])


async def _said(client: httpx.AsyncClient, **fields: Any) -> str:
    job = await run(client, prompt=PROMPT, max_tokens=12, temperature=0, **fields)
    text: str = job["result"]["text"]
    return text


async def _word(client: httpx.AsyncClient, at: int = 3) -> tuple[str, str]:
    """What is said without a guard, and a word of it."""
    text = await _said(client)
    words = text.split()
    return text, next(w for w in words[at:] if words.count(w) == 1 and len(w) > 2)


async def _set(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.put("/v1/guard", json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _lexicon(word: str, action: str = "mask", **more: Any) -> dict[str, Any]:
    return {
        "mode": "enforce",
        "lexicons": [{"category": "word", "terms": [word]}],
        "actions": {"word": {"action": action, **more}},
    }


async def test_off_until_it_is_set(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v1/guard")).json()
    assert found["settings"]["mode"] == "off"
    assert found["set_at"] is None


async def test_a_masked_word_leaves_on_no_way(
    client: httpx.AsyncClient, rig: Rig, key: str
) -> None:
    text, word = await _word(client)
    await _set(client, **_lexicon(word))
    guarded = text.replace(word, "[word]")
    job = await submit(client, prompt=PROMPT, max_tokens=12, temperature=0, logprobs=3)
    job = await ended(client, job["id"])
    assert job["result"]["text"] == guarded
    assert word not in json.dumps(job["result"])
    tokens = job["result"]["choices"][0]["logprobs"]
    assert "".join(one["token"] for one in tokens) == guarded
    assert job["usage"]["completion_tokens"] == 12
    events = (
        await client.get(f"/v1/jobs/{job['id']}/events", headers={"accept": "text/event-stream"})
    ).text
    assert word not in events
    async with openai.AsyncOpenAI(
        api_key=key, base_url=f"{rig.base_url}/v1", max_retries=0
    ) as their:
        whole = await their.completions.create(
            model="rill", prompt=PROMPT, max_tokens=12, temperature=0
        )
        assert whole.choices[0].text == guarded
        pieces = [
            piece.choices[0].text
            async for piece in await their.completions.create(
                model="rill", prompt=PROMPT, max_tokens=12, temperature=0, stream=True
            )
            if piece.choices
        ]
        assert "".join(pieces) == guarded


async def test_a_stop_ends_every_answer_with_content_filter(
    client: httpx.AsyncClient, rig: Rig, key: str
) -> None:
    text, word = await _word(client)
    await _set(client, **_lexicon(word, "stop"))
    job = await run(client, prompt=PROMPT, max_tokens=12, temperature=0)
    assert job["state"] == "succeeded"
    assert job["result"]["finish_reason"] == "content_filter"
    assert job["result"]["text"] == text[: text.index(word)]
    assert 0 < job["usage"]["completion_tokens"] < 12, (text, word)
    async with openai.AsyncOpenAI(
        api_key=key, base_url=f"{rig.base_url}/v1", max_retries=0
    ) as their:
        last = None
        async for piece in await their.completions.create(
            model="rill", prompt=PROMPT, max_tokens=12, temperature=0, stream=True
        ):
            last = piece.choices[0].finish_reason if piece.choices else last
        assert last == "content_filter"


async def test_watching_changes_nothing_and_counts(client: httpx.AsyncClient) -> None:
    text, word = await _word(client)
    await _set(client, **{**_lexicon(word), "mode": "observe"})
    assert await _said(client) == text

    async def counted() -> dict[tuple[str, str], int]:
        rows = (await client.get("/v1/guard/counts")).json()["data"]
        return {(row["category"], row["action"]): row["hits"] for row in rows}

    assert await eventually(counted, "the count") == {("", "answered"): 1, ("word", "observe"): 1}


async def test_a_job_keeps_the_guard_it_was_accepted_with(client: httpx.AsyncClient) -> None:
    text, word = await _word(client)
    job = await submit(client, prompt=PROMPT, max_tokens=12, temperature=0)
    await _set(client, **_lexicon(word))
    assert (await ended(client, job["id"]))["result"]["text"] == text
    assert word not in await _said(client)
    await _set(client, mode="off")
    assert await _said(client) == text


async def test_what_was_kept_under_another_guard_is_not_served(client: httpx.AsyncClient) -> None:
    cache = {"mode": "exact"}
    text, word = await _word(client)
    assert await _said(client, cache=cache) == text
    await _set(client, **_lexicon(word))
    guarded = text.replace(word, "[word]")
    for _ in range(2):
        job = await run(client, prompt=PROMPT, max_tokens=12, temperature=0, cache=cache)
        assert job["result"]["text"] == guarded
    assert job["cache"]["hit"] == "exact"
    await _set(client, mode="off")
    assert await _said(client, cache=cache) == text


async def test_tenants_have_guards_of_their_own(client: httpx.AsyncClient, rig: Rig) -> None:
    text, word = await _word(client)
    await _set(client, **_lexicon(word))
    async with rig.client(await rig.key(new_id("t"))) as other:
        assert (await other.get("/v1/guard")).json()["settings"]["mode"] == "off"
        assert await _said(other) == text
        assert (await other.get("/v1/guard/counts")).json()["data"] == []


async def test_lowering_what_is_enforced_takes_the_role(
    client: httpx.AsyncClient, rig: Rig
) -> None:
    tenant = new_id("t")
    async with (
        rig.client(await rig.key(tenant)) as plain,
        rig.client(await rig.key(tenant, roles=[RISK_OWNER])) as owner,
    ):
        _, word = await _word(plain)
        # Watching is nobody's loss, and raising is everybody's.
        for fields in (
            {"mode": "observe"},
            {"mode": "off"},
            _lexicon(word),
            _lexicon(word, "stop"),
        ):
            await _set(plain, **fields)
        refused = error(await plain.put("/v1/guard", json={"mode": "observe"}), 403)
        assert refused["code"] == "role_required"
        assert "lower an enforced guard (mode: enforce becomes observe)" in refused["message"]
        assert "penstock keys create --role risk-owner" in refused["message"]
        refused = error(await plain.put("/v1/guard", json={"mode": "enforce"}), 403)
        assert "lexicons" in refused["message"]
        assert (await plain.get("/v1/guard")).json()["settings"]["lexicons"]
        await _set(owner, mode="off")


async def test_a_guard_that_an_older_release_stored_is_in_force(
    client: httpx.AsyncClient, db: Database
) -> None:
    """What it lacks has its default, and its digest is its name: nobody reckons it anew."""
    text, word = await _word(client)
    await _set(client, **_lexicon(word))
    async with db.begin() as session:
        job = await submit(client, prompt=PROMPT, max_tokens=1)
        of = await session.scalar(
            sql("SELECT tenant_id FROM jobs WHERE id = :id"), {"id": job["id"]}
        )
        lexicon = [{"category": "old", "terms": [word]}]
        row = {"t": of, "d": "0" * 64, "b": json.dumps({"mode": "enforce", "lexicons": lexicon})}
        await session.execute(
            sql(
                "INSERT INTO guards (tenant_id, digest, body, key_id) VALUES (:t, :d, cast(:b AS jsonb), 'key')"
            ),
            row,
        )
        await session.execute(
            sql("UPDATE guard_current SET digest = :d, active = :d WHERE tenant_id = :t"), row
        )
    assert await _said(client) == text.replace(word, "[old]")


async def test_every_answer_of_several_is_guarded(client: httpx.AsyncClient) -> None:
    spec = {"prompt": PROMPT, "max_tokens": 12, "n": 3, "temperature": 1.0, "seed": 5}
    plain = (await run(client, **spec))["result"]["choices"]
    words = {next(w for w in one["text"].split()[4:] if len(w) > 2) for one in plain}
    await _set(client, mode="enforce", lexicons=[{"category": "word", "terms": sorted(words)}])
    guarded = (await run(client, **spec))["result"]["choices"]
    for one in guarded:
        assert "[word]" in one["text"]
        assert not words & set(one["text"].replace("[word]", " ").split())


async def test_a_text_is_tried(client: httpx.AsyncClient) -> None:
    body = {"text": "Write to jane@example.com, EMP-123456.",
            "guard": {"mode": "enforce", "patterns": [{"category": "staff", "pattern": r"EMP-\d{6}"}],
                      "actions": {"staff": {"action": "stop"}}}}  # fmt: skip
    found = (await client.post("/v1/guard/test", json=body)).json()
    assert found["text"] == "Write to [email], "
    assert found["finish_reason"] == "content_filter"
    assert {h["category"] for h in found["hits"]} == {"email", "staff"}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"mode": "on"}, "mode", "observe"),
        ({"patterns": [{"category": "x", "pattern": "(a+)+"}]}, "patterns.0", "without a bound"),
        ({"patterns": [{"category": "x", "pattern": "a?"}]}, "patterns.0", "empty"),
        ({"lexicons": [{"category": "email", "terms": ["ab"]}]}, "", "built in"),
        ({"lexicons": [{"category": "x", "terms": ["!!"]}]}, "lexicons.0.terms", "letters"),
        ({"actions": {"email": {"action": "rewrite"}}}, "actions.email", "needs text"),
        (
            {"actions": {"email": {"action": "rewrite", "text": 'a"b'}}},
            "actions.email.text",
            "pattern",
        ),
        ({"router": {"examples": ["x"]}}, "", "classifier"),
        ({"classifier": {"name": "os:system"}}, "classifier.name", "pattern"),
        (
            {"classifier": {"categories": {"nonsense": None}}},
            "classifier.categories",
            "does not know",
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str, words: str
) -> None:
    found = error(await client.put("/v1/guard", json=fields), 422)
    assert param in (found["param"] or "")
    assert words in found["message"]


async def test_a_line_of_a_batch_is_guarded(client: httpx.AsyncClient, rig: Rig, key: str) -> None:
    body = {"model": "rill", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body}
    text, word = await _word(client)
    await _set(client, **_lexicon(word))
    async with openai.AsyncOpenAI(
        api_key=key, base_url=f"{rig.base_url}/v1", max_retries=0
    ) as their:
        made = await batching.begin(their, [line], endpoint="/v1/completions")
        batch = await batching.ended(their, made.id)
        (told,) = await batching.content(their, batch.output_file_id)
    assert told["response"]["body"]["choices"][0]["text"] == text.replace(word, "[word]")


async def test_a_response_and_a_chat_that_were_stopped_say_so(
    client: httpx.AsyncClient, rig: Rig, key: str
) -> None:
    async with openai.AsyncOpenAI(
        api_key=key, base_url=f"{rig.base_url}/v1", max_retries=0
    ) as their:
        asked: Any = {
            "model": "rill",
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 12,
            "temperature": 0,
        }
        said = (await their.chat.completions.create(**asked)).choices[0].message.content or ""
        word = next(w for w in said.split()[3:] if len(w) > 2)
        await _set(client, **_lexicon(word, "stop"))
        whole = await their.chat.completions.create(**asked)
        assert whole.choices[0].finish_reason == "content_filter"
        assert whole.choices[0].message.content == said[: said.index(word)]
        last, heard = None, ""
        async for chunk in await their.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                heard += choice.delta.content or ""
                last = choice.finish_reason or last
        assert (last, heard) == ("content_filter", said[: said.index(word)])
        response = await their.responses.create(
            model="rill", input=PROMPT, max_output_tokens=12, temperature=0
        )
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "content_filter"
        assert word not in response.output_text


async def test_groups_are_counted_apart(client: httpx.AsyncClient) -> None:
    _, word = await _word(client)
    await _set(client, **_lexicon(word), monitor={"group": "team"})
    for team in ("red", "red", "blue"):
        await _said(client, metadata={"team": team})

    async def counted() -> bool:
        rows = (await client.get("/v1/guard/counts")).json()["data"]
        found = {(row["category"], row["group"]): row["hits"] for row in rows}
        return found.get(("word", "red")) == 2 and found.get(("word", "blue")) == 1

    await eventually(counted, "both groups")
    watches = (await client.get("/v1/guard/watches")).json()["data"]
    assert {(w["category"], w["group"]) for w in watches} == {
        (category, group) for category in ("any", "word") for group in ("red", "blue")
    }
    assert all(w["alarmed_at"] is None for w in watches)
