"""Stages move one step at a time by one verb, each move kept; what is in use is not retired by accident."""

import asyncio
import itertools

import pytest

from core.catalog import aliases, stages
from core.catalog.models import Served
from core.catalog.stages import MOVES
from core.db.session import Database
from core.errors import Conflict, InvalidInput, NotFound
from core.security.keys import Caller
from tests.core import cataloguing as given
from tests.core.cataloguing import version
from tests.fakes.webhooks import tenant
from tests.gating import passed


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


async def move(database: Database, caller: Caller, name: str, stage: str, reason: str = "") -> str:
    async with database.begin() as session:
        return (await stages.move(session, caller, name, stage, reason)).stage


ROADS = {
    "candidate": [],
    "staging": ["staging"],
    "production": ["staging", "production"],
    "retired": ["retired"],
}


@pytest.mark.parametrize("before", MOVES)
@pytest.mark.parametrize("after", MOVES)
async def test_only_the_moves_that_are_allowed_are_made(
    database: Database, caller: Caller, model: Served, before: str, after: str
) -> None:
    made = await version(database, caller, model)
    await passed(database, caller, made.name)
    for step in ROADS[before]:
        await move(database, caller, made.name, step)
    async with database.begin() as session:
        moves = len(await stages.history(session, caller, made.id))
    if after == before:
        assert await move(database, caller, made.id, after) == after
    elif after in MOVES[before]:
        assert await move(database, caller, made.id, after, "because") == after
        moves += 1
    else:
        with pytest.raises(Conflict) as refused:
            await move(database, caller, made.id, after)
        assert refused.value.code == "stage_not_allowed"
    async with database.begin() as session:
        assert len(await stages.history(session, caller, made.id)) == moves


async def test_a_move_is_kept_with_its_author_and_reason(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await version(database, caller, model)
    await passed(database, caller, made.name)
    for stage, reason in (("staging", "94 %"), ("production", "signed off"), ("staging", "slow")):
        await move(database, caller, made.name, stage, reason)
    async with database.begin() as session:
        moves = await stages.history(session, caller, made.name)
    assert [(m.was, m.stage, m.reason) for m in moves] == [
        ("candidate", "staging", "94 %"),
        ("staging", "production", "signed off"),
        ("production", "staging", "slow"),
    ]
    assert {m.key_id for m in moves} == {caller.key_id}


async def test_of_two_that_move_at_once_the_second_sees_the_first(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await version(database, caller, model)
    await passed(database, caller, made.name)
    await move(database, caller, made.name, "staging")
    steps = [move(database, caller, made.name, s) for s in ("production", "retired") * 3]
    done = await asyncio.gather(*steps, return_exceptions=True)
    assert all(isinstance(one, Conflict | str) for one in done)
    async with database.begin() as session:
        moves = await stages.history(session, caller, made.name)
    assert all(a.stage == b.was for a, b in itertools.pairwise(moves))
    assert moves[-1].stage == "retired"


async def test_what_is_in_production_or_behind_an_alias_is_not_deleted(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await version(database, caller, model)
    await passed(database, caller, made.name)
    async with database.begin() as session:
        await aliases.put(session, caller, "prod", made.name)
    async with database.begin() as session:
        with pytest.raises(Conflict, match="behind the alias prod") as refused:
            await stages.retire(session, caller, made.name, "")
    assert refused.value.code == "model_in_use"
    with pytest.raises(Conflict, match="behind the alias prod"):
        await move(database, caller, made.name, "retired")
    async with database.begin() as session:
        await aliases.remove(session, caller, "prod")
    for stage in ("staging", "production"):
        await move(database, caller, made.name, stage)
    async with database.begin() as session:
        with pytest.raises(Conflict, match="is in production"):
            await stages.retire(session, caller, made.name, "")
    # Said explicitly it is done.
    assert await move(database, caller, made.name, "retired", "found wanting") == "retired"
    async with database.begin() as session:
        assert (await stages.retire(session, caller, made.name, "")).retired_at is not None


async def test_wrong_input_is_named(database: Database, caller: Caller, model: Served) -> None:
    made = await version(database, caller, model)
    await passed(database, caller, made.name)
    for stage, reason, param in (
        ("best", "", "stage"),
        ("staging", "x" * 1001, "reason"),
        ("staging", "\0", "reason"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await move(database, caller, made.name, stage, reason)
        assert refused.value.param == param
    stranger = await tenant(database)
    with pytest.raises(NotFound):
        await move(database, stranger, made.name, "staging")
    async with database.begin() as session:
        with pytest.raises(NotFound):
            await stages.history(session, stranger, made.name)
