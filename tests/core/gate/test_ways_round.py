"""Ways round the gate that somebody might try: failures buried or laundered, evidence that ends while one waits."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from core.catalog import aliases, models, offers, stages
from core.catalog.models import Served
from core.catalog.tables import Version
from core.config import Settings
from core.db.session import Database
from core.errors import InvalidInput, NotFound
from core.gate import door
from core.gate.door import GateRefused
from core.ids import new_id
from core.security.keys import Caller
from tests.core import cataloguing as given
from tests.fakes.webhooks import tenant
from tests.gating import audited, passed
from tests.waiting import eventually

DATA = {"data": [{"file": "file_1", "sha256": "d" * 64}]}


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


async def staged(database: Database, caller: Caller, model: Served, **more: Any) -> Version:
    made = await given.version(database, caller, model, **more)
    async with database.begin() as session:
        return await stages.move(session, caller, made.name, "staging")


async def promoted(database: Database, caller: Caller, name: str) -> str:
    async with database.begin() as session:
        return (await stages.move(session, caller, name, "production")).stage


async def test_a_failure_is_not_buried_under_many_small_passes(
    database: Database, caller: Caller, model: Served
) -> None:
    one = await staged(database, caller, model)
    await audited(database, caller, one.name, "FAIL", ago=timedelta(days=1), items=400)
    for number in range(60):
        ago = timedelta(hours=1) - timedelta(seconds=number)
        await audited(database, caller, one.name, ago=ago, items=50)
    with pytest.raises(GateRefused, match=r"harm\.compliance: FAIL"):
        await promoted(database, caller, one.name)


async def test_a_pass_is_not_buried_under_many_audits_of_another_policy(
    database: Database, caller: Caller, model: Served
) -> None:
    one = await staged(database, caller, model)
    await audited(database, caller, one.name, ago=timedelta(days=1))
    for _ in range(60):
        await audited(database, caller, one.name, "INCONCLUSIVE", policy_name="", policy_digest="")
    assert await promoted(database, caller, one.name) == "production"


async def test_a_smaller_pass_does_not_undo_the_one_that_took_a_failure_back(
    database: Database, caller: Caller, model: Served
) -> None:
    one = await staged(database, caller, model)
    await audited(database, caller, one.name, "FAIL", ago=timedelta(hours=3))
    await audited(database, caller, one.name, ago=timedelta(hours=2))
    await audited(database, caller, one.name, ago=timedelta(hours=1), items=50)
    assert await promoted(database, caller, one.name) == "production"


@pytest.mark.parametrize("then", [{}, {"lineage": DATA}])
async def test_what_failed_stays_failed_when_its_bytes_are_brought_again_under_another_lineage(
    database: Database, caller: Caller, model: Served, then: dict[str, Any]
) -> None:
    bytes_ = given.unkept()
    first = await staged(database, caller, model, artifact=bytes_, lineage=DATA if not then else {})
    await audited(database, caller, first.name, "FAIL", ago=timedelta(hours=1))
    again = await staged(database, caller, model, artifact=bytes_, **then)
    await audited(database, caller, again.name, items=50)
    with pytest.raises(GateRefused, match=r"harm\.compliance: FAIL"):
        await promoted(database, caller, again.name)


async def test_evidence_of_the_adapter_on_another_base_is_none(
    database: Database, caller: Caller, model: Served
) -> None:
    bytes_ = given.unkept()
    other = Served(new_id("m"), "there", 2048, digest="c" * 64)
    async with database.begin() as session:
        await models.register(session, other)
    there = await staged(database, caller, other, artifact=bytes_)
    here = await staged(database, caller, model, artifact=bytes_)
    await passed(database, caller, there.name)
    with pytest.raises(GateRefused, match="never audited"):
        await promoted(database, caller, here.name)
    assert await promoted(database, caller, there.name) == "production"


async def test_a_model_that_is_served_under_a_gated_aliass_name_does_not_answer_in_its_place(
    database: Database, caller: Caller, model: Served
) -> None:
    one = await staged(database, caller, model)
    await passed(database, caller, one.name)
    name = f"prod-{new_id('x')}"
    async with database.begin() as session:
        await aliases.put(session, caller, name, one.name)
        await models.register(session, Served(name, "elsewhere", 2048, digest="9" * 64))
    async with database.single() as session:
        offer = await offers.offered(session, caller.tenant_id)
    settings = Settings(_env_file=None)
    found = models.resolve(name, offer.models, settings, param="model", aliases=offer.aliases)
    assert found.name == name, "a model's name comes before any alias"
    with pytest.raises(InvalidInput, match=f"leads to {one.name} through your gate"):
        offer.check(name, found.name, param="model")


async def test_evidence_that_ends_while_the_move_waits_its_turn_is_none(
    database: Database, caller: Caller, model: Served
) -> None:
    one = await staged(database, caller, model)
    job = await audited(database, caller, one.name)

    async def put() -> None:
        async with database.begin() as session:
            await aliases.put(session, caller, "prod", one.name)

    async with database.begin() as session:
        await door.lock(session, caller.tenant_id)
        moving = asyncio.create_task(put())
        await waits_for_the_gate(database)
        await session.execute(
            text("UPDATE audits SET expires_at = clock_timestamp() WHERE job_id = :job"),
            {"job": job},
        )
    with pytest.raises(GateRefused, match="has expired"):
        await moving


async def waits_for_the_gate(database: Database) -> None:
    async def waiting() -> bool:
        async with database.single() as session:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return bool(await session.scalar(text(query)))

    await eventually(waiting, "a move to wait for the gate's lock", 10)


async def test_an_alias_of_a_whole_model_asks_for_evidence_of_its_version(
    database: Database, caller: Caller, model: Served
) -> None:
    """Its workers serve it under its version's name, for its tenant alone."""
    one = await staged(database, caller, model, kind="full", context=2048)
    async with database.begin() as session:
        await models.register(session, Served(one.name, "folder", 2048, digest="f" * 64))
    await audited(database, caller, one.name)
    async with database.begin() as session:
        put = await aliases.put(session, caller, "prod", one.name)
        assert put.version_id == one.id
    stranger = await tenant(database)
    async with database.begin() as session:
        with pytest.raises(NotFound):
            await aliases.put(session, stranger, "dev", one.name)
