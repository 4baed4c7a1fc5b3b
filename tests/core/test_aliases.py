"""Aliases lead where their tenant says, and back in one call; they never stand before a model's name."""

import asyncio
import itertools

import pytest

from core.catalog import aliases, models, stages
from core.catalog.models import Served
from core.catalog.tables import Version
from core.config import Settings
from core.db.session import Database
from core.errors import Conflict, InvalidInput, NotFound
from core.security.keys import Caller
from tests.core import cataloguing as given
from tests.core.cataloguing import ended, running, version
from tests.fakes.webhooks import tenant
from tests.gating import passed


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


@pytest.fixture
async def three(database: Database, caller: Caller, model: Served) -> list[Version]:
    made = [await version(database, caller, model) for _ in range(3)]
    await passed(database, caller, model.name, *(one.name for one in made))
    return made


async def put(
    database: Database, caller: Caller, target: str, name: str = "prod", reason: str = ""
) -> str:
    async with database.begin() as session:
        return (await aliases.put(session, caller, name, target, reason)).target


async def rollback(database: Database, caller: Caller, name: str = "prod") -> str:
    async with database.begin() as session:
        return (await aliases.rollback(session, caller, name, "back")).target


async def test_a_rollback_goes_back_one_move_and_the_next_one_further(
    database: Database, caller: Caller, model: Served, three: list[Version]
) -> None:
    one, two, last = (v.name for v in three)
    await put(database, caller, model.name)
    for name in (one, two, last):
        assert await put(database, caller, name) == name
    assert [await rollback(database, caller) for _ in range(2)] == [two, one]
    # A new move in between is the one that the next rollback takes back.
    await put(database, caller, last)
    assert [await rollback(database, caller) for _ in range(2)] == [one, model.name]
    with pytest.raises(Conflict, match="led to nothing before") as refused:
        await rollback(database, caller)
    assert refused.value.code == "nothing_before"
    async with database.begin() as session:
        found = await aliases.get(session, caller, "prod")
        moves = await aliases.history(session, caller, "prod")
    assert (found.target, found.version_id) == (model.name, None)
    assert len(moves) == 9
    assert all(a.target == b.was for a, b in itertools.pairwise(moves))
    assert {m.key_id for m in moves} == {caller.key_id}
    assert [m.reason for m in moves if m.undoes is not None] == ["back"] * 4


async def test_moving_to_where_it_leads_already_is_no_move(
    database: Database, caller: Caller, three: list[Version]
) -> None:
    await put(database, caller, three[0].name)
    await put(database, caller, three[1].name)
    await put(database, caller, three[1].id)
    assert await rollback(database, caller) == three[0].name


async def test_a_deleted_alias_comes_back_by_a_rollback(
    database: Database, caller: Caller, three: list[Version]
) -> None:
    await put(database, caller, three[0].name)
    async with database.begin() as session:
        await aliases.remove(session, caller, "prod", "oops")
    for verb in (aliases.get, aliases.remove):
        async with database.begin() as session:
            with pytest.raises(NotFound) as refused:
                await verb(session, caller, "prod")
            assert refused.value.code == "alias_not_found"
    assert await rollback(database, caller) == three[0].name


async def test_what_was_retired_meanwhile_is_not_gone_back_to(
    database: Database, caller: Caller, three: list[Version]
) -> None:
    await put(database, caller, three[0].name)
    await put(database, caller, three[1].name)
    async with database.begin() as session:
        await stages.retire(session, caller, three[0].name, "")
    with pytest.raises(Conflict, match="is retired"):
        await rollback(database, caller)
    with pytest.raises(Conflict, match="is retired"):
        await put(database, caller, three[0].name)
    async with database.begin() as session:
        assert (await aliases.get(session, caller, "prod")).target == three[1].name


async def test_an_alias_and_a_retirement_at_once_leave_no_alias_to_what_is_retired(
    database: Database, caller: Caller, three: list[Version]
) -> None:
    async def retire(name: str) -> None:
        async with database.begin() as session:
            await stages.retire(session, caller, name, "")

    for number, made in enumerate(three):
        name = f"race{number}"
        both = (put(database, caller, made.name, name), retire(made.name))
        done = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(one, Conflict) for one in done) == 1, done


async def test_moves_at_once_follow_each_other(
    database: Database, caller: Caller, three: list[Version]
) -> None:
    await asyncio.gather(*(put(database, caller, v.name) for v in three * 3))
    async with database.begin() as session:
        moves = await aliases.history(session, caller, "prod")
    assert moves[0].was is None
    assert all(a.target == b.was for a, b in itertools.pairwise(moves))


@pytest.mark.parametrize("name", ["", "ft:x", "a/b", "-x", "x" * 65, "a b", "ü", "a\n"])
async def test_a_name_that_cannot_be_one_is_refused(
    database: Database, caller: Caller, three: list[Version], name: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await put(database, caller, three[0].name, name)
    assert refused.value.param == "name"


async def test_no_alias_stands_before_a_served_model(
    database: Database, caller: Caller, model: Served, three: list[Version]
) -> None:
    with pytest.raises(InvalidInput, match="name of a served model"):
        await put(database, caller, three[0].name, model.name)


async def test_an_alias_leads_to_what_there_is(
    database: Database, caller: Caller, model: Served, three: list[Version]
) -> None:
    stranger = await tenant(database)
    claim = await running(database, caller, model, "finetune")
    unseen = await version(database, caller, model, job_id=claim.id)
    for who, target in ((caller, "nothing"), (caller, unseen.name), (stranger, three[0].name)):
        with pytest.raises(NotFound) as refused:
            await put(database, who, target)
        assert refused.value.param == "model"
    assert await ended(database, claim)
    await passed(database, caller, unseen.name)
    assert await put(database, caller, unseen.name) == unseen.name
    async with database.begin() as session:
        assert await aliases.listed(session, stranger.tenant_id) == []
        for verb in (aliases.get, aliases.rollback, aliases.history):
            with pytest.raises(NotFound):
                await verb(session, stranger, "prod")


def test_a_tenants_alias_wins_over_the_settings_and_never_over_a_model() -> None:
    settings = Settings(_env_file=None, model_name="rill", model_aliases={"30B": "big"})
    rill, big, tuned = Served("rill", "r", 8), Served("big", "b", 8), Served("ft:x", "r", 8)
    theirs = {"prod": "ft:x", "7B": "ft:x", "big": "ft:x", "gone": "ft:away"}

    def resolved(name: str) -> str:
        found = models.resolve(name, [rill, big, tuned], settings, param="model", aliases=theirs)
        return found.name

    assert [resolved(name) for name in ("prod", "7B", "1B", "30B", "big", "rill", "")] == [
        "ft:x", "ft:x", "rill", "big", "big", "rill", "rill",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="'ft:away', where 'gone' leads, is not served"):
        resolved("gone")
