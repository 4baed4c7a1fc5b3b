"""Rate limits as OpenAI's client meets them: it waits as told by itself, and gets a job of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletion

from core.db.session import Database
from core.events.log import EventLog
from core.ids import new_id
from core.security import keys
from core.security.keys import Rate
from core.security.limits import Buckets, Cost, limits_of
from tests.api.openai import batching
from tests.rig import Rig


@dataclass
class Wire:
    """What the client was answered, and when: (seconds, status, retry-after-ms)."""

    answers: list[tuple[float, int, str]] = field(default_factory=list)

    async def hear(self, answer: Any) -> None:
        told = answer.headers.get("retry-after-ms", "")
        self.answers.append((time.monotonic(), answer.status_code, told))

    @property
    def statuses(self) -> list[int]:
        return [status for _, status, _ in self.answers]


@asynccontextmanager
async def client(rig: Rig, key: str, retries: int) -> AsyncIterator[tuple[AsyncOpenAI, Wire]]:
    wire = Wire()
    http = DefaultAsyncHttpxClient(
        trust_env=False, timeout=60, event_hooks={"response": [wire.hear]}
    )
    url = f"{rig.base_url}/v1"
    async with AsyncOpenAI(
        base_url=url, api_key=key, max_retries=retries, http_client=http
    ) as opened:
        yield opened, wire


async def ask(ai: AsyncOpenAI) -> ChatCompletion:
    return await ai.chat.completions.create(
        model="rill", messages=[{"role": "user", "content": "The mill"}], max_tokens=4
    )


async def drain(rig: Rig, db: Database, log: EventLog, key: str) -> None:
    """Take all that this key may take."""
    async with db.begin() as session:
        caller = await keys.authenticate(session, key)
    (limit,) = limits_of(caller, rig.settings())
    # Through a wider door, so that there is no room whatever was left: the next waits half a second at least.
    wide = replace(limit, size=10 * limit.size)
    await Buckets(log.redis).take([wide], Cost(requests=limit.size))


async def test_a_refusal_is_a_rate_limit_error_with_its_headers(rig: Rig) -> None:
    key = await rig.key(new_id("t"), Rate(1, 5000))
    async with client(rig, key, 0) as (ai, _):
        raw = await ai.chat.completions.with_raw_response.create(
            model="rill", messages=[{"role": "user", "content": "The mill"}], max_tokens=4
        )
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(ai)
        assert refused.value.code == "rate_limit_exceeded"
        headers = refused.value.response.headers
        assert headers["x-ratelimit-limit-requests"] == "1"
        assert 0 < int(headers["retry-after-ms"]) <= 60_000
        with pytest.raises(openai.APIStatusError) as never:
            await ai.completions.create(model="rill", prompt=["a"] * 6, max_tokens=1000)
        assert never.value.code == "over_rate_limit"


async def test_the_client_comes_back_by_itself_when_told(
    rig: Rig, db: Database, log: EventLog
) -> None:
    key = await rig.key(new_id("t"), Rate(requests=120))
    async with client(rig, key, 2) as (ai, wire):
        first = await ask(ai)
        await drain(rig, db, log, key)
        with pytest.raises(openai.RateLimitError):
            await ask(ai.with_options(max_retries=0))
        wire.answers.clear()
        again = await ask(ai)
    assert again.id != first.id, "the retry of a refused request is a request of its own"
    assert wire.statuses == [429, 200]
    (refused_at, _, told), (passed_at, _, _) = wire.answers
    assert 0 < int(told) <= 1000
    assert passed_at - refused_at >= int(told) / 1000


async def test_the_same_body_three_times_at_once_is_three_answers(
    rig: Rig, db: Database, log: EventLog
) -> None:
    """Each is refused first. Their further tries have one body, and none may be taken for another's."""
    key = await rig.key(new_id("t"), Rate(requests=120))
    async with client(rig, key, 10) as (ai, wire):
        before = await ask(ai)
        await drain(rig, db, log, key)
        answers = await asyncio.gather(*(ask(ai) for _ in range(3)))
    assert len({answer.id for answer in (before, *answers)}) == 4
    assert wire.statuses.count(200) == 4
    assert wire.statuses.count(429) >= 3


async def test_a_further_try_of_what_was_accepted_is_free(rig: Rig) -> None:
    """The answer was lost on its way: the client sends it again and says so."""
    key = await rig.key(new_id("t"), Rate(requests=1))
    async with client(rig, key, 0) as (ai, _):
        first = await ask(ai)
        again = await ai.chat.completions.create(
            model="rill", messages=[{"role": "user", "content": "The mill"}], max_tokens=4,
            extra_headers={"x-stainless-retry-count": "1"},
        )  # fmt: skip
        assert again == first
        with pytest.raises(openai.RateLimitError):
            await ask(ai)


async def test_a_batch_is_one_request_whatever_its_lines_take(rig: Rig) -> None:
    key = await rig.key(new_id("t"), Rate(requests=2, tokens=5))
    async with client(rig, key, 0) as (ai, _):
        lines = [batching.line(str(n)) for n in range(3)]
        file_id = await batching.upload(ai, lines)

        async def begin(**headers: str) -> Any:
            return await ai.batches.with_raw_response.create(
                input_file_id=file_id, endpoint=batching.CHAT, completion_window="24h",
                extra_headers=headers,
            )  # fmt: skip

        first = await begin(**{"idempotency-key": "a"})
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-tokens"] == "5"
        again = await begin(**{"idempotency-key": "a"})
        assert again.parse().id == first.parse().id
        assert again.headers["x-ratelimit-remaining-requests"] == "1"
        with pytest.raises(openai.BadRequestError):
            await ai.batches.create(
                input_file_id=file_id, endpoint="/v1/moderations", completion_window="24h"
            )
        done = await batching.ended(ai, first.parse().id)
        assert done.request_counts is not None
        assert done.request_counts.completed == 3
        # None of its lines failed: nothing to try again, and nothing to pay.
        with pytest.raises(openai.ConflictError):
            await ai.post(f"/batches/{done.id}/retry", cast_to=object)
        await begin()
        with pytest.raises(openai.RateLimitError):
            await begin()
