"""A queue that is full says so before anything is recorded, and still knows the jobs it has."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from sqlalchemy import text

from api.deps import Parts
from api.limits import RateLimits
from core.catalog import models
from core.catalog.models import Served
from core.config import Settings
from core.db.session import Database
from core.errors import Conflict, TooMany
from core.events.log import EventLog, connect
from core.ids import new_id
from core.jobs import service
from core.jobs.kinds import InferenceJob
from core.jobs.submission import Repeat, Submitted, Wish
from core.security.keys import Caller
from tests import asking
from tests.asking import JOBS
from tests.fakes.webhooks import tenant
from tests.rig import Rig
from tests.waiting import eventually

# Registered by no worker: what is sent to it waits.
IDLE = "nobody-serves-this"


class Tries:
    """Refused tries, counted as Redis counts them for every process."""

    def __init__(self) -> None:
        self.count = Counter[str]()

    async def remember(self, refused: str) -> None:
        self.count[refused] += 1

    async def spend(self, refused: str) -> bool:
        known = self.count[refused] > 0
        self.count[refused] -= known
        return known


def parts(database: Database, tries: Tries | None = None, **values: int) -> Parts:
    """One API process as far as submissions go."""
    config = Settings(_env_file=None, **cast("Any", values))
    limits = RateLimits(config, database, cast("Any", tries or Tries()))
    # Not asked: these requests allow no cache.
    log, nothing = EventLog(connect(config), config), cast("Any", None)
    return Parts(config, database, log, nothing, nothing, limits)


def wish(caller: Caller, model: str, key: str | None = None, **more: Any) -> Wish:
    spec = InferenceJob.model_validate({"kind": "inference", "prompt": "x"} | more)
    return Wish(caller, spec, Served(model, "here", 2048), key)


async def outcomes(made: Parts, wishes: list[Wish]) -> tuple[int, list[TooMany]]:
    """How many were recorded, and the refusals of the rest."""
    done = await asyncio.gather(*(made.submit(w) for w in wishes), return_exceptions=True)
    refused = [d for d in done if isinstance(d, TooMany)]
    recorded = sum(isinstance(d, Submitted) for d in done)
    assert recorded + len(refused) == len(wishes), done
    return recorded, refused


async def count(database: Database, queue: str) -> int:
    async with database.begin() as session:
        found = await session.scalar(
            text("SELECT count(*) FROM jobs WHERE queue = :q AND state = 'queued'"), {"q": queue}
        )
    return int(found or 0)


async def test_a_hundred_at_once_fill_a_queue_to_its_limit_and_no_further(
    database: Database,
) -> None:
    model, made = new_id("m"), parts(database, queue_limit=40, queue_limit_per_tenant=25)
    one, two = await tenant(database), await tenant(database)
    recorded, refused = await outcomes(made, [wish(one, model) for _ in range(100)])
    assert (recorded, len(refused)) == (25, 75)
    assert {r.code for r in refused} == {"queue_full"}
    assert "25 of your jobs wait" in refused[0].message
    assert "PENSTOCK_QUEUE_LIMIT_PER_TENANT" in refused[0].message
    recorded, refused = await outcomes(made, [wish(two, model) for _ in range(100)])
    assert (recorded, len(refused)) == (15, 85)
    assert "40 jobs wait" in refused[0].message
    queue = f"inference.interactive.{model}"
    assert queue in refused[0].message
    assert await count(database, queue) == 40
    # Another class of the same model is another queue.
    assert (await outcomes(made, [wish(one, model, priority="batch")]))[0] == 1


async def test_a_place_that_is_free_again_is_given_again(database: Database) -> None:
    model, made = new_id("m"), parts(database, queue_limit=3)
    caller = await tenant(database)
    first = await made.submit(wish(caller, model))
    await outcomes(made, [wish(caller, model) for _ in range(2)])
    with pytest.raises(TooMany):
        await made.submit(wish(caller, model))
    async with database.begin() as session:
        await service.cancel(session, caller, first.job.id)

    async def let_in() -> bool:
        return (await outcomes(made, [wish(caller, model)]))[0] == 1

    await eventually(let_in, "the free place was never seen")
    assert await count(database, f"inference.interactive.{model}") == 3


async def test_what_was_not_recorded_takes_no_place(database: Database) -> None:
    model, made = new_id("m"), parts(database, queue_limit=3)
    caller = await tenant(database)
    await made.submit(wish(caller, model, "k"))
    for _ in range(5):
        with pytest.raises(Conflict):
            await made.submit(wish(caller, model, "k", seed=1))
    assert (await outcomes(made, [wish(caller, model) for _ in range(5)]))[0] == 2


async def test_a_full_queue_still_answers_with_the_job_of_a_key(database: Database) -> None:
    model, made = new_id("m"), parts(database, queue_limit=2)
    caller = await tenant(database)
    first = await made.submit(wish(caller, model, "k"))
    await made.submit(wish(caller, model))
    for _ in range(3):
        again = await made.submit(wish(caller, model, "k"))
        assert (again.job.id, again.replayed) == (first.job.id, True)
    with pytest.raises(Conflict):
        await made.submit(wish(caller, model, "k", seed=1))
    with pytest.raises(TooMany):
        await made.submit(wish(caller, model, "another"))
    stranger = await tenant(database)
    with pytest.raises(TooMany):
        await made.submit(wish(stranger, model, "k"))
    assert await count(database, f"inference.interactive.{model}") == 2


async def test_a_try_again_counts_as_its_first_only_while_it_is_one(database: Database) -> None:
    model, made = new_id("m"), parts(database, queue_limit=1)
    caller = await tenant(database)
    body = {"spec": wish(caller, model).spec, "model": Served(model, "here", 2048), "key": "body"}
    first = await made.submit(Wish(caller, repeat=Repeat(None), **cast("Any", body)))
    again = await made.submit(Wish(caller, repeat=Repeat(600), **cast("Any", body)))
    assert again.job.id == first.job.id
    with pytest.raises(TooMany):  # a first try makes a job of its own
        await made.submit(Wish(caller, repeat=Repeat(None), **cast("Any", body)))
    with pytest.raises(TooMany):  # so does one that comes too late
        await made.submit(Wish(caller, repeat=Repeat(0), **cast("Any", body)))


async def test_a_try_that_found_the_queue_full_is_no_repeat_of_an_older_job(
    database: Database,
) -> None:
    model, tries, caller = new_id("m"), Tries(), await tenant(database)
    full, wide = (parts(database, tries, queue_limit=limit) for limit in (1, 9))
    body = {"spec": wish(caller, model).spec, "model": Served(model, "here", 2048), "key": "body"}
    first = await full.submit(Wish(caller, repeat=Repeat(None), **cast("Any", body)))
    with pytest.raises(TooMany):
        await full.submit(Wish(caller, repeat=Repeat(None), **cast("Any", body)))
    again = await wide.submit(Wish(caller, repeat=Repeat(600), **cast("Any", body)))
    assert not again.replayed
    assert again.job.id != first.job.id
    once_more = await wide.submit(Wish(caller, repeat=Repeat(600), **cast("Any", body)))
    assert once_more.job.id == again.job.id


async def test_prompts_that_come_together_are_let_in_together_or_not_at_all(
    database: Database,
) -> None:
    model, made = new_id("m"), parts(database, queue_limit=5)
    caller = await tenant(database)
    await made.submit_together([wish(caller, model) for _ in range(3)])
    with pytest.raises(TooMany, match="3 jobs wait"):
        await made.submit_together([wish(caller, model) for _ in range(3)])
    assert await count(database, f"inference.interactive.{model}") == 3
    await made.submit_together([wish(caller, model, f"k{n}") for n in range(2)])
    again = await made.submit_together([wish(caller, model, f"k{n}") for n in range(2)])
    assert all(one.replayed for one in again)


async def test_two_processes_go_over_by_what_they_let_in_at_once(database: Database) -> None:
    """The overshoot that the setting's page tells of: each process has its own look, a second old at most."""
    model, caller = new_id("m"), await tenant(database)
    pair = [parts(database, queue_limit=10) for _ in range(2)]
    await asyncio.gather(*(made.queues.line(f"inference.interactive.{model}") for made in pair))
    for made in pair:
        assert (await outcomes(made, [wish(caller, model) for _ in range(30)]))[0] == 10

    async def seen() -> bool:
        lines = [await made.queues.line(f"inference.interactive.{model}") for made in pair]
        return all(line.waiting() == 20 for line in lines)

    await eventually(seen, "the other's jobs were never counted")
    for made in pair:
        assert (await outcomes(made, [wish(caller, model)]))[0] == 0


@pytest.fixture(scope="module")
def small(rig: Rig) -> Iterator[str]:
    """An API process with little room, and the address of it."""
    part = rig.process("api", 4)
    part.env |= {
        "PENSTOCK_QUEUE_LIMIT_PER_TENANT": "2",
        "PENSTOCK_OPEN_BATCHES_PER_TENANT": "1",
    }
    part.start(120)
    yield f"http://127.0.0.1:{rig.ports['api4']}"
    part.end()


@pytest.fixture
async def idle(rig: Rig, db: Database) -> AsyncIterator[str]:
    """A model without a worker."""
    async with db.begin() as session:
        await models.register(session, Served(IDLE, rig.settings().model, 2048))
    yield IDLE
    async with db.begin() as session:
        await session.execute(text("DELETE FROM models WHERE name = :name"), {"name": IDLE})


async def test_a_full_queue_is_429_with_a_time_to_come_back(
    rig: Rig, small: str, key: str, idle: str
) -> None:
    async with rig.client(key) as client:
        client.base_url = httpx.URL(small)
        jobs = []
        for number in range(2):
            headers = {"idempotency-key": f"k{number}"}
            jobs.append(
                (
                    await client.post(JOBS, json=asking.SPEC | {"model": idle}, headers=headers)
                ).json()
            )
        answer = await client.post(JOBS, json=asking.SPEC | {"model": idle})
        error = asking.error(answer, 429)
        assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
        assert 1000 <= int(answer.headers["retry-after-ms"]) <= 60_000
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        again = await client.post(
            JOBS, json=asking.SPEC | {"model": idle}, headers={"idempotency-key": "k0"}
        )
        assert (again.status_code, again.json()["id"]) == (202, jobs[0]["id"])
        assert len((await client.get(JOBS)).json()["data"]) == 2
        # A queue that moves is another matter, and so is the whole of another tenant's.
        await asking.run(client)
        for job in jobs:
            await client.post(f"{JOBS}/{job['id']}/cancel")


async def test_openais_client_meets_a_full_queue_as_a_rate_limit(
    rig: Rig, small: str, key: str, idle: str
) -> None:
    async with (
        rig.client(key) as client,
        AsyncOpenAI(
            base_url=f"{small}/v1", api_key=key, max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        ) as ai,
    ):  # fmt: skip
        client.base_url = httpx.URL(small)
        jobs = [await asking.submit(client, model=idle) for _ in range(2)]
        messages: Any = [{"role": "user", "content": "Hello"}]
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as refused:
                await ai.chat.completions.create(model=idle, messages=messages, stream=stream)
            assert refused.value.code == "queue_full"
            assert "PENSTOCK_QUEUE_LIMIT_PER_TENANT" in refused.value.message
            assert int(refused.value.response.headers["retry-after-ms"]) >= 1000
        with pytest.raises(openai.RateLimitError):
            await ai.completions.create(model=idle, prompt=["a", "b"])
        for job in jobs:
            await client.post(f"{JOBS}/{job['id']}/cancel")


async def test_open_batches_of_a_tenant_are_bounded(
    rig: Rig, small: str, key: str, idle: str
) -> None:
    async with rig.client(key) as client:
        client.base_url = httpx.URL(small)
        line = (
            '{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": '
            f'{{"model": "{idle}", "prompt": "x"}}}}'
        )
        files = {"file": ("in.jsonl", line.encode())}
        file = (await client.post("/v1/files", files=files, data={"purpose": "batch"})).json()
        body = {
            "input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "24h",
        }  # fmt: skip
        keyed = {"idempotency-key": "mine"}
        first = await client.post("/v1/batches", json=body, headers=keyed)
        assert first.status_code == 200, first.text
        answers = await asyncio.gather(*(client.post("/v1/batches", json=body) for _ in range(5)))
        for answer in answers:
            error = asking.error(answer, 429)
            assert error["code"] == "too_many_batches"
            assert "PENSTOCK_OPEN_BATCHES_PER_TENANT" in error["message"]
            assert answer.headers["retry-after"] == "30"
        again = await client.post("/v1/batches", json=body, headers=keyed)
        assert again.json()["id"] == first.json()["id"]
        other = body | {"completion_window": "1h"}
        asking.error(await client.post("/v1/batches", json=other, headers=keyed), 409)
        await client.post(f"/v1/batches/{first.json()['id']}/cancel")
