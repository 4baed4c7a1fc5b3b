"""Whole models by their aliases: which version is served, where the alias leads until it is, and what is refused."""

import pytest
from sqlalchemy import text

from core.catalog import aliases, models, stages, standing
from core.catalog.models import Served
from core.catalog.tables import Version
from core.db.session import Database
from core.errors import Refused
from core.security.keys import Caller
from tests.core import cataloguing as given
from tests.fakes.webhooks import tenant
from tests.gating import passed


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


async def whole(database: Database, caller: Caller) -> Version:
    base = Served("rill", "here", 2048, digest="b" * 64)
    made = await given.version(database, caller, base, kind="full", suffix="whole", context=2048)
    await passed(database, caller, made.name)
    return made


async def announced(database: Database, version: Version) -> None:
    async with database.begin() as session:
        await models.register(session, Served(version.name, "here", 2048, digest="d" * 64))


async def led(database: Database, caller: Caller) -> dict[str, str]:
    async with database.single() as session:
        served = {model.name for model in await models.listed(session)}
        mine = await aliases.listed(session, caller.tenant_id)
        return await standing.leading(session, caller.tenant_id, mine, served)


async def put(database: Database, caller: Caller, target: Version) -> None:
    async with database.begin() as session:
        await aliases.put(session, caller, "prod", target.name)


async def test_an_alias_leads_to_the_newest_that_is_served(
    database: Database, caller: Caller
) -> None:
    one, two, three = [await whole(database, caller) for _ in range(3)]
    await put(database, caller, one)
    assert await led(database, caller) == {"prod": one.name}, "nothing was before"
    await announced(database, one)
    await put(database, caller, two)
    await put(database, caller, three)
    assert await led(database, caller) == {"prod": one.name}, "neither has a worker yet"
    await announced(database, two)
    assert await led(database, caller) == {"prod": two.name}
    await announced(database, three)
    assert await led(database, caller) == {"prod": three.name}
    async with database.begin() as session:
        await standing.withdraw(session, three.name)
    assert await led(database, caller) == {"prod": two.name}


async def test_what_stands_is_found_by_alias_name_and_id(
    database: Database, caller: Caller
) -> None:
    one = await whole(database, caller)
    await put(database, caller, one)
    async with database.single() as session:
        name = await session.scalar(
            text("SELECT name FROM tenants WHERE id = :id"), {"id": caller.tenant_id}
        )
        for tenant in (name, caller.tenant_id):
            for wanted in ("prod", one.name, one.id):
                assert (await standing.standing(session, str(tenant), wanted)).id == one.id


async def test_what_cannot_stand_is_refused_with_the_reason(
    database: Database, caller: Caller
) -> None:
    base = await given.base(database)
    adapter = await given.version(database, caller, base)
    old = await whole(database, caller)
    async with database.begin() as session:
        await stages.move(session, caller, old.name, "retired")
    async with database.single() as session:
        for wanted, why in (
            (adapter.name, "is an adapter"),
            (old.name, "is retired"),
            ("nothing", "is no version of the catalog"),
        ):
            with pytest.raises(Refused, match=why):
                await standing.standing(session, caller.tenant_id, wanted)
        with pytest.raises(Refused, match="there is no tenant"):
            await standing.standing(session, "nobody", "prod")
