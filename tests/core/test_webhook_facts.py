"""A recorded fact and what is to be told of it are one: neither commits without the other."""

import orjson
import pytest
from sqlalchemy import text

from core.catalog.models import Served
from core.db.session import Database
from core.events import outbox, types
from core.jobs import service
from core.jobs.job import Job
from core.jobs.kinds import InferenceJob
from core.jobs.responses import Asking
from core.jobs.submission import Submitted, Wish, submit_all
from core.security.keys import Caller
from core.webhooks import endpoints
from tests.fakes import webhooks as given

MODEL = Served("tiny", "/nowhere", 128)


async def _submit(database: Database, caller: Caller) -> Job:
    async with database.begin() as session:
        spec = InferenceJob(kind="inference", prompt="x")
        return (await service.submit(session, caller, spec, MODEL)).job


async def _told(database: Database, endpoint: str) -> list[dict[str, object]]:
    async with database.begin() as session:
        rows = await session.execute(
            text(
                "SELECT * FROM webhook_deliveries WHERE endpoint_id = :id ORDER BY created_at, id"
            ),
            {"id": endpoint},
        )
        return [dict(row) for row in rows.mappings()]


async def test_a_fact_is_told_to_the_endpoints_that_want_it(database: Database) -> None:
    caller, stranger = await given.tenant(database), await given.tenant(database)
    url = "https://example.com/"
    wants = await given.endpoint(database, caller, url)
    others = [
        await given.endpoint(database, caller, url, event_types=["job.failed"]),
        await given.endpoint(database, caller, url, enabled=False),
        await given.endpoint(database, stranger, url),
    ]
    job = await _submit(database, caller)
    (row,) = await _told(database, wants)
    body = orjson.loads(str(row["body"]))
    assert (row["tenant_id"], row["state"], row["tries"]) == (caller.tenant_id, "pending", 0)
    assert row["event_type"] == body["type"] == "job.queued"
    assert row["event_id"] == body["id"]
    assert "." not in body["id"]  # the signature separates its parts with dots
    assert body["object"] == "event"
    assert isinstance(body["created_at"], int)
    assert body["timestamp"].endswith("Z")
    assert body["data"] == {"id": job.id, "seq": 1, "state": "queued", "attempt": 0}
    for other in others:
        assert await _told(database, other) == []


async def test_a_fact_that_rolls_back_is_not_told(database: Database) -> None:
    caller = await given.tenant(database)
    endpoint = await given.endpoint(database, caller, "https://example.com/")
    async with database.begin() as session:
        spec = InferenceJob(kind="inference", prompt="x")
        await service.submit(session, caller, spec, MODEL)
        await session.rollback()
    assert await _told(database, endpoint) == []


async def test_a_job_can_end_while_its_endpoint_is_being_deleted(database: Database) -> None:
    caller = await given.tenant(database)
    endpoint = await given.endpoint(database, caller, "https://example.com/")
    spec = InferenceJob(kind="inference", prompt="x")
    async with database.begin() as deleting:
        await endpoints.delete(deleting, caller, endpoint)
        async with database.begin() as session:  # does not wait, and does not fail at its commit
            await service.submit(session, caller, spec, MODEL)
    assert len(await _told(database, endpoint)) == 1
    await _submit(database, caller)
    assert len(await _told(database, endpoint)) == 1


@pytest.mark.parametrize(
    ("state", "data", "told"),
    [
        ("succeeded", {"result": {"finish_reason": "stop"}}, "response.completed"),
        ("succeeded", {"result": {"finish_reason": "length"}}, "response.incomplete"),
        (
            "succeeded",
            {"result": {"choices": [{"finish_reason": "length"}]}},
            "response.incomplete",
        ),
        ("failed", {"error": {"code": "x"}}, "response.failed"),
        ("expired", {}, "response.failed"),
        ("cancelled", {}, "response.cancelled"),
        ("queued", {}, None),
    ],
)
async def test_the_end_of_a_response_is_told_as_one(
    database: Database, state: str, data: dict[str, object], told: str | None
) -> None:
    """Beside the job's own event, in the statement that ends it; an ordinary job is told of as before."""
    caller = await given.tenant(database)
    wanted = await given.endpoint(
        database, caller, "https://example.com/", event_types=list(types.RESPONSES)
    )
    spec = InferenceJob(kind="inference", prompt="x")
    wishes = [
        Wish(caller, spec, MODEL, response=response) for response in (Asking({}, True, True), None)
    ]
    async with database.begin() as session:
        done = await submit_all(session, wishes)
        jobs = [one.job.id for one in done if isinstance(one, Submitted)]
        move = outbox.recorded(
            f"""UPDATE jobs SET state = :state, seq = seq + 1 WHERE id = ANY(:ids) RETURNING {outbox.FACT},
                'job.' || state AS fact_type, cast(:data AS jsonb) AS fact_data"""
        )
        await session.execute(
            move, {"state": state, "ids": jobs, "data": orjson.dumps(data).decode()}
        )
    rows = [orjson.loads(str(row["body"])) for row in await _told(database, wanted)]
    expected = [] if told is None else [(told, {"id": jobs[0].replace("job_", "resp_")})]
    assert [(row["type"], row["data"]) for row in rows] == expected
