"""Rate limits as clients meet them: four limits, one answer, and nothing charged for what makes no job."""

import asyncio
from typing import Any

import httpx
import pytest

from api.limits import duration
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from core.security.keys import Rate
from tests import asking
from tests.asking import JOBS, SPEC
from tests.rig import Rig
from tests.waiting import eventually

# asking.SPEC: nine bytes of prompt are two tokens, and five are asked for.
TAKES = 7
CHAT: dict[str, Any] = {
    "model": "rill", "messages": [{"role": "user", "content": "The mill"}], "max_tokens": 4,
}  # fmt: skip


def left(answer: httpx.Response) -> tuple[int, int]:
    """Requests and tokens."""
    names = ("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens")
    requests, tokens = (int(answer.headers[name]) for name in names)
    return requests, tokens


def keyed(key: str) -> dict[str, str]:
    return {"idempotency-key": key}


async def count(client: httpx.AsyncClient) -> int:
    return len((await client.get(JOBS, params={"limit": 100})).json()["data"])


async def test_an_answer_tells_how_its_limits_stand(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(10, 1000))) as client:
        answer = await client.post(JOBS, json=SPEC)
        told = {k: v for k, v in answer.headers.items() if k.startswith("x-ratelimit")}
        assert told == {
            "x-ratelimit-limit-requests": "10", "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": str(1000 - TAKES),
            "x-ratelimit-reset-requests": "6s", "x-ratelimit-reset-tokens": "420ms",
        }  # fmt: skip
        read = await client.get(f"{JOBS}/{answer.json()['id']}")
        assert not [name for name in read.headers if name.startswith("x-ratelimit")]


async def test_who_has_no_limit_hears_of_none(client: httpx.AsyncClient) -> None:
    answer = await client.post(JOBS, json=SPEC)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize(("ms", "said"), [
    (0, "0s"), (1, "1ms"), (999, "999ms"), (1000, "1s"), (1500, "1.5s"), (59_999, "59.999s"),
    (60_000, "1m0s"), (90_500, "1m30.5s"), (360_000, "6m0s"),
])  # fmt: skip
def test_durations_are_written_as_openai_does(ms: int, said: str) -> None:
    assert duration(ms) == said


async def test_fifty_at_once_against_ten_are_ten(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(10))) as client:
        answers = await asyncio.gather(*(client.post(JOBS, json=SPEC) for _ in range(50)))
        assert sorted(answer.status_code for answer in answers) == [202] * 10 + [429] * 40
        assert await count(client) == 10


async def test_a_refusal_says_whose_limit_it_is_and_when_to_come_back(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(1))) as client:
        await asking.submit(client)
        answer = await client.post(JOBS, json=SPEC)
        found = asking.error(answer, 429)
        assert (found["type"], found["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert found["message"].startswith("Rate limit of key key_")
        assert "1 requests a minute. 0 left; try again in" in found["message"]
        assert 58_000 < int(answer.headers["retry-after-ms"]) <= 60_000
        ms = int(answer.headers["retry-after-ms"])
        assert int(answer.headers["retry-after"]) == -(-ms // 1000)
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        series = 'penstock_rate_limited_total{of="key",unit="requests"}'
        assert series in (await client.get("/metrics")).text
        # Reading has no limit.
        assert await count(client) == 1


async def test_two_keys_of_a_tenant_share_its_limit_and_others_do_not(rig: Rig) -> None:
    tenant, other = new_id("t"), new_id("t")
    one = await rig.key(tenant, Rate(requests=3), {"requests": 5})
    two = await rig.key(tenant)
    async with rig.client(one) as first, rig.client(two) as second:
        answers = [await first.post(JOBS, json=SPEC) for _ in range(4)]
        assert [a.status_code for a in answers] == [202, 202, 202, 429]
        # The tighter of the two is shown.
        assert [int(a.headers["x-ratelimit-limit-requests"]) for a in answers] == [3] * 4
        assert "Rate limit of key" in answers[3].json()["error"]["message"]
        answers = [await second.post(JOBS, json=SPEC) for _ in range(3)]
        assert [a.status_code for a in answers] == [202, 202, 429]
        assert answers[2].headers["x-ratelimit-limit-requests"] == "5"
        assert "Rate limit of tenant ten_" in answers[2].json()["error"]["message"]
    async with rig.client(await rig.key(other, Rate(requests=3))) as elsewhere:
        assert (await elsewhere.post(JOBS, json=SPEC)).status_code == 202


async def test_what_one_limit_refuses_no_other_is_charged_for(rig: Rig) -> None:
    key = await rig.key(new_id("t"), Rate(requests=10), {"tokens": 100})
    async with rig.client(key) as client:
        first = await client.post(JOBS, json=SPEC | {"max_tokens": 95})
        assert left(first) == (9, 3)
        refused = await client.post(JOBS, json=SPEC | {"max_tokens": 50})
        assert left(refused)[0] == 9
        found = asking.error(refused, 429)
        assert "100 tokens a minute" in found["message"]
        assert "this request may take 52" in found["message"]


async def test_a_replay_is_neither_charged_nor_refused(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(1, 100))) as client:
        first = await client.post(JOBS, json=SPEC, headers=keyed("a"))
        for _ in range(3):
            again = await client.post(JOBS, json=SPEC, headers=keyed("a"))
            assert again.status_code == 202
            assert again.json()["id"] == first.json()["id"]
            requests, tokens = left(again)
            assert requests == 0
            assert tokens >= 100 - TAKES
        other = await client.post(JOBS, json=SPEC | {"max_tokens": 6}, headers=keyed("a"))
        assert asking.error(other, 409)["code"] == "idempotency_key_reused"
        assert (await client.post(JOBS, json=SPEC, headers=keyed("b"))).status_code == 429


async def test_twins_at_once_are_charged_once(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(50, 1000))) as client:
        sent = (client.post(JOBS, json=SPEC, headers=keyed("twin")) for _ in range(20))
        answers = await asyncio.gather(*sent)
        assert len({answer.json()["id"] for answer in answers}) == 1
        after = await client.post(JOBS, json=SPEC, headers=keyed("twin"))
        requests, tokens = left(after)
        assert requests == 49
        assert tokens >= 1000 - TAKES


async def test_who_was_refused_is_charged_once_when_it_comes_back(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(requests=120))) as client:
        await asyncio.gather(*(client.post(JOBS, json=SPEC) for _ in range(120)))

        async def refused() -> httpx.Response | None:
            answer = await client.post(JOBS, json=SPEC, headers=keyed(new_id("k")))
            return answer if answer.status_code == 429 else None

        assert await eventually(refused, "the bucket is full")
        one = keyed("mine")

        async def accepted() -> httpx.Response | None:
            answer = await client.post(JOBS, json=SPEC, headers=one)
            return answer if answer.status_code == 202 else None

        first = await eventually(accepted, "there is room again")
        again = await client.post(JOBS, json=SPEC, headers=one)
        assert first is not None
        assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"max_tokens": 0}, 422), ({"model": "unheard-of"}, 422), ({"x": 1}, 422)],
)
async def test_what_is_wrong_is_not_charged(rig: Rig, change: dict[str, Any], status: int) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(requests=1))) as client:
        for _ in range(3):
            asking.error(await client.post(JOBS, json=SPEC | change), status)
        await asking.submit(client)


async def test_what_could_never_pass_is_no_matter_of_waiting(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(1, 100))) as client:
        answer = await client.post(JOBS, json=SPEC | {"max_tokens": 99})
        found = asking.error(answer, 413)
        assert found["code"] == "over_rate_limit"
        assert "may take 101 tokens" in found["message"]
        assert "100 a minute" in found["message"]
        assert "retry-after" not in answer.headers
        assert await count(client) == 0
        await asking.submit(client, max_tokens=98)


async def test_a_changed_limit_holds_when_the_key_is_read_again(rig: Rig, db: Database) -> None:
    tenant = new_id("t")
    async with rig.client(await rig.key(tenant)) as client:
        await asking.submit(client)
        async with db.begin() as session:
            await keys.limit_tenant(session, tenant, {"requests": 4})

        async def told() -> str | None:
            answer = await client.post(JOBS, json=SPEC, headers=keyed("same"))
            told: str | None = answer.headers.get("x-ratelimit-limit-requests")
            return told

        assert await eventually(told, "the limit is known") == "4"


ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/generate", {"prompt": "The river", "max_tokens": 4}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
    ("/v1/completions", {"model": "rill", "prompt": "The river", "max_tokens": 4}),
    ("/v1/completions", {"model": "rill", "prompt": "The river", "max_tokens": 4, "stream": True}),
    ("/v1/responses", {"model": "rill", "input": "The river", "max_output_tokens": 16}),
    ("/v1/responses", {"model": "rill", "input": "The river", "background": True}),
    (
        "/v1/responses",
        {"model": "rill", "input": "The river", "max_output_tokens": 16, "stream": True},
    ),
]


@pytest.mark.parametrize(("path", "body"), ROUTES)
async def test_every_route_that_makes_jobs_has_the_limits(
    rig: Rig, path: str, body: dict[str, Any]
) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(1, 5000))) as client:
        first = await client.post(path, json=body)
        assert first.status_code == 200, first.text
        requests, tokens = left(first)
        assert requests == 0
        assert tokens < 5000
        refused = await client.post(path, json=body)
        assert asking.error(refused, 429)["code"] == "rate_limit_exceeded"
        assert left(refused)[0] == 0


async def test_several_prompts_are_one_request_and_all_their_tokens(rig: Rig) -> None:
    async with rig.client(await rig.key(new_id("t"), Rate(5, 5000))) as client:
        body = {"model": "rill", "prompt": ["12345678"] * 3, "max_tokens": 10}
        answer = await client.post("/v1/completions", json=body, headers=keyed("a"))
        requests, tokens = left(answer)
        assert requests == 4
        assert 5000 - 3 * 12 <= tokens < 5000
        again = await client.post("/v1/completions", json=body, headers=keyed("a"))
        assert again.headers["idempotency-replayed"] == "true"
        assert left(again)[0] == 4
