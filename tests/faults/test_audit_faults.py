"""Audits while their worker is killed, Postgres restarted, Redis emptied: no figure changes, nothing is asked twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from core.jobs.job import Job
from tests.asking import ended
from tests.auditing import audited, found, graded, items, submitted
from tests.faults.invariants import CHARGED, REPORT, no_orphans, one_story
from tests.faults.load import Load
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

ITEMS = 600
KILLS = 3


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


@pytest.fixture
async def db(rig: Rig) -> AsyncIterator[Database]:
    opened = Database(rig.settings(), name="test", pool=2)
    yield opened
    await opened.close()


async def recorded(client: httpx.AsyncClient, audit_id: str, count: int) -> None:
    """Wait until so many answers are recorded."""

    async def there() -> bool:
        try:
            page = await client.get(
                f"/v1/audits/{audit_id}/items",
                params={"limit": 1, "after": f"model.{count - 2}.graded"},
            )
        except httpx.TransportError:
            return False
        return page.status_code == 200 and bool(page.json()["data"])

    await eventually(there, f"{audit_id} has {count} answers")


async def settled(db: Database, audit_id: str) -> dict[str, Any]:
    """I1 to I3, I9: one story with one end; the ledger, the job's usage and the sum over its answers are the same."""
    async with db.single() as session:
        job = await session.get(Job, audit_id)
        assert job is not None
        facts = (
            await session.execute(
                text(
                    "SELECT seq, type, attempt, at, data FROM job_events WHERE job_id = :id ORDER BY seq"
                ),
                {"id": audit_id},
            )
        ).all()
        entry = (
            await session.execute(text("SELECT * FROM ledger WHERE id = :id"), {"id": audit_id})
        ).one()
        sums = (
            await session.execute(
                text(
                    """SELECT coalesce(sum((usage ->> 'prompt_tokens')::bigint), 0) AS prompt_tokens,
                              coalesce(sum((usage ->> 'completion_tokens')::bigint), 0) AS completion_tokens,
                              coalesce(sum((usage ->> 'cached_tokens')::bigint), 0) AS cached_tokens,
                              coalesce(sum((usage ->> 'engine_seconds')::numeric), 0)::float8 AS engine_seconds
                       FROM audit_answers WHERE job_id = :id"""
                ),
                {"id": audit_id},
            )
        ).one()
    one_story(job, list(facts))
    assert entry.settled_at is not None
    usage: dict[str, Any] = dict(job.usage or {})
    for name in CHARGED:
        assert getattr(entry, name) == usage[name] == getattr(sums, name), name
    assert facts[-1].data["usage"] == usage
    return usage


def asked_again(rig: Rig, answered: list[dict[str, Any]], at: dict[str, float]) -> list[str]:
    """Prompts that reached the engine after their answer was recorded."""
    prompts = {row["prompt"]: row["item"] for row in answered}
    notes = (rig.folder / "requests").read_text().splitlines()
    return [
        prompt
        for came, prompt in map(json.loads, notes)
        if prompt in prompts and came > at[prompts[prompt]]
    ]


async def times(db: Database, audit_id: str) -> dict[str, float]:
    query = text(
        "SELECT item, extract(epoch FROM created_at)::float8 AS at FROM audit_answers WHERE job_id = :id"
    )
    async with db.single() as session:
        return {row.item: row.at for row in await session.execute(query, {"id": audit_id})}


async def test_killing_the_worker_three_times_changes_no_figure(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database
) -> None:
    suite = await graded(client, ITEMS)
    (rig.folder / "requests").write_text("")
    job = await submitted(client, suites=[suite], policy="none")
    reader = asyncio.create_task(Reader(job["id"]).follow(client, 120))
    for kill in range(KILLS):
        await recorded(client, job["id"], ITEMS * (kill + 1) // (KILLS + 2))
        await asyncio.to_thread(rig.parts["inference"].kill)
        await asyncio.to_thread(rig.parts["inference"].start)
    done = await ended(client, job["id"], timeout_s=120)
    assert done["state"] == "succeeded", done["error"]
    assert done["attempt"] == KILLS + 1
    answered = await items(client, job["id"])
    assert len(answered) == ITEMS
    again = asked_again(rig, answered, await times(db, job["id"]))
    (rig.folder / "requests").unlink()
    assert again == []
    usage = await settled(db, job["id"])
    told = (await reader).events
    assert [e["data"].get("plan") for e in told if e["type"] == "progress"].count(None) < len(told)
    assert sum("plan" in e["data"] for e in told if e["type"] == "progress") == 1

    undisturbed = await audited(client, suites=[suite], policy="none")
    disturbed = await found(client, job["id"])
    assert disturbed["findings"] == undisturbed["findings"]
    assert disturbed["plan"] == undisturbed["plan"]
    alone = await items(client, undisturbed["id"])
    told_rows = [{k: v for k, v in row.items() if k != "usage"} for row in answered]
    assert told_rows == [{k: v for k, v in row.items() if k != "usage"} for row in alone]
    once = await settled(db, undisturbed["id"])
    assert {n: usage[n] for n in CHARGED[:2]} == {n: once[n] for n in CHARGED[:2]}
    no_orphans(rig)
    REPORT.append(
        f"audit: {ITEMS} items, {KILLS} kills of the worker, {done['attempt']} attempts; figures, answers and "
        f"tokens ({usage['total_tokens']}) equal an undisturbed run's; 0 recorded answers asked again"
    )


@pytest.mark.parametrize("how", ["cancelled", "expired"])
async def test_an_audit_that_is_stopped_keeps_and_pays_what_there_is(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database, how: str
) -> None:
    # More than an engine can answer before the window closes.
    count = ITEMS * 5 if how == "expired" else ITEMS
    suite = await graded(client, count)
    window = {"completion_window": "3s"} if how == "expired" else {}
    job = await submitted(client, suites=[suite], policy="none", **window)
    await recorded(client, job["id"], 40)
    if how == "cancelled":
        assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 200
    done = await ended(client, job["id"])
    assert done["state"] == how
    assert done["result"]["phase"] == "collect"
    usage = await settled(db, job["id"])
    answered = await items(client, job["id"])
    assert 40 <= len(answered) < count
    assert usage["total_tokens"] > 0
    audit = await found(client, job["id"])
    assert (audit["verdict"], audit["findings"], audit["published_at"]) == (None, None, None)
    assert audit["usage"] == usage


async def restarted(rig: Rig) -> None:
    await asyncio.to_thread(rig.stack.parts["postgres"].end)
    await asyncio.to_thread(rig.stack.parts["postgres"].start)


async def emptied(rig: Rig) -> None:
    await asyncio.to_thread(rig.stack.parts["redis"].kill)
    rig.stack.parts["redis"].wipe()
    await asyncio.to_thread(rig.stack.parts["redis"].start)


@pytest.mark.parametrize("fault", [restarted, emptied], ids=lambda fault: fault.__name__)
async def test_an_audit_survives_what_it_stands_on(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database, fault: Any
) -> None:
    suite = await graded(client, ITEMS // 2)
    job = await submitted(client, suites=[suite], policy="none")
    await recorded(client, job["id"], 60)
    await fault(rig)

    async def over() -> dict[str, Any] | None:
        try:
            answer = await client.get(f"/v1/jobs/{job['id']}")
        except httpx.TransportError:
            return None
        if answer.status_code != 200 or answer.json()["finished_at"] is None:
            return None
        told: dict[str, Any] = answer.json()
        return told

    done = await eventually(over, "the audit has ended", 90)
    assert done is not None
    assert done["state"] == "succeeded", done["error"]
    answered = await items(client, job["id"])
    assert [row["number"] for row in answered] == list(range(ITEMS // 2))
    await settled(db, job["id"])
    late = await Reader(job["id"]).follow(client)
    assert late.events[-1]["data"]["usage"] == done["usage"]
