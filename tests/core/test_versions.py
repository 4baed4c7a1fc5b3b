"""Versions: seen from the statement on that makes their job succeed, by their tenant alone, on their own base alone."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from core.catalog import datasets, models, versions
from core.catalog.datasets import NewDataset
from core.catalog.models import Model, Served
from core.catalog.tables import Version
from core.db.session import Database
from core.errors import InvalidInput, NotFound
from core.ids import new_id
from core.jobs.job import State
from core.security import keys
from core.security.keys import Caller
from tests.core import cataloguing as given
from tests.core.cataloguing import ended, running, unkept, version
from tests.fakes.webhooks import tenant


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


async def served(database: Database, caller: Caller) -> list[str]:
    async with database.begin() as session:
        return [one.name for one in await versions.served(session, caller.tenant_id)]


async def test_a_version_is_seen_from_its_jobs_success_on(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model, "finetune")
    made = await version(database, caller, model, job_id=claim.id, suffix="mill")
    assert await served(database, caller) == []
    async with database.begin() as session:
        assert await versions.listed(session, caller.tenant_id) == []
        with pytest.raises(NotFound):
            await versions.get(session, caller, made.name)
    assert await ended(database, claim)
    assert await served(database, caller) == [made.name]
    async with database.begin() as session:
        found = await versions.get(session, caller, made.name)
        assert (await versions.get(session, caller, made.id)).id == found.id
    assert (found.stage, found.number, found.job_id) == ("candidate", 1, claim.id)


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.EXPIRED])
async def test_a_job_that_ends_otherwise_shows_nothing(
    database: Database, caller: Caller, model: Served, state: State
) -> None:
    claim = await running(database, caller, model, "finetune")
    await version(database, caller, model, job_id=claim.id)
    assert await ended(database, claim, state)
    assert await served(database, caller) == []


async def test_a_lost_attempt_publishes_nothing(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model, "finetune")
    await version(database, caller, model, job_id=claim.id)
    assert not await ended(database, replace(claim, attempt=claim.attempt + 1))
    assert await served(database, caller) == []


async def test_a_dataset_is_seen_from_its_jobs_success_on(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model, "dataset")
    new = NewDataset(caller.tenant_id, "rivers", {"rows": 3}, job_id=claim.id)
    async with database.begin() as session:
        made = await datasets.add(session, new, unkept())
        assert (await datasets.add(session, new, unkept())).id == made.id
        assert await datasets.listed(session, caller) == ([], False)
    assert await ended(database, claim)
    stranger = await tenant(database)
    async with database.begin() as session:
        (found,), more = await datasets.listed(session, caller, name="rivers")
        assert (found.id, found.report, found.number, more) == (made.id, {"rows": 3}, 1, False)
        assert (await datasets.get(session, caller, made.id)).digest == made.digest
        for who, which in ((stranger, made.id), (caller, new_id("dsv")), (caller, "x")):
            with pytest.raises(NotFound) as refused:
                await datasets.get(session, who, which)
            assert refused.value.code == "dataset_not_found"
        assert await datasets.listed(session, stranger) == ([], False)


async def test_the_second_attempt_finds_the_firsts_version(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model, "finetune")

    async def one() -> Version:
        return await version(database, caller, model, unkept(), job_id=claim.id)

    made = await asyncio.gather(*(one() for _ in range(6)))
    assert len({v.id for v in made}) == 1
    assert len({v.artifact for v in made}) == 1


async def test_numbers_count_what_has_one_base_and_suffix(
    database: Database, caller: Caller, model: Served
) -> None:
    async def one(suffix: str) -> Version:
        return await version(database, caller, model, suffix=suffix)

    made = await asyncio.gather(*(one("a") for _ in range(5)), one("b"), one(""))
    assert sorted(v.number for v in made[:5]) == [1, 2, 3, 4, 5]
    assert [v.number for v in made[5:]] == [1, 1]


async def test_the_name_says_base_tenant_suffix_and_job(database: Database, model: Served) -> None:
    async with database.begin() as session:
        name = f"Étang & Söhne {new_id('t')}"
        key, _ = await keys.create(session, tenant=name, name="k")
    caller, claim_id = Caller(key.tenant_id, key.id), new_id("job")
    made = await version(database, caller, model, job_id=claim_id, suffix="v1.mill")
    ft, base, owner, suffix, tail = made.name.split(":")
    assert (ft, base, suffix, tail) == ("ft", model.name, "v1.mill", claim_id[-8:])
    assert owner.startswith("tang-s-hne-t_")
    assert (await version(database, caller, model)).name.split(":")[3] == ""
    for bad in ("a:b", "-x", "x" * 65, "a b", "ü"):
        with pytest.raises(InvalidInput) as refused:
            await version(database, caller, model, suffix=bad)
        assert refused.value.param == "suffix"


async def test_a_strangers_version_is_as_absent_as_none(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await version(database, caller, model)
    stranger = await tenant(database)
    assert await served(database, stranger) == []
    async with database.begin() as session:
        assert await versions.listed(session, stranger.tenant_id) == []
        for who, which in ((stranger, made.name), (stranger, made.id), (caller, "ft:none")):
            with pytest.raises(NotFound) as refused:
                await versions.get(session, who, which)
            assert refused.value.code == "model_not_found"


async def test_an_adapter_is_served_on_the_weights_it_was_trained_on(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await version(database, caller, model, context=1024)
    whole = await version(database, caller, model, kind="full")
    async with database.begin() as session:
        (one,) = await versions.served(session, caller.tenant_id)
    assert (one.name, one.source, one.context) == (made.name, model.source, 1024)
    assert (one.runs_on, one.adapter) == (model.name, made.digest)
    assert one.digest == versions.together(model.digest, made.digest) != model.digest
    async with database.begin() as session:
        await session.execute(update(Model).where(Model.name == model.name).values(digest="c" * 64))
    assert await served(database, caller) == [], "other weights under the name"
    # A whole model has workers of its own.
    async with database.begin() as session:
        await models.register(session, Served(whole.name, "fetched", 512, digest="e" * 64))
        (one,) = await versions.served(session, caller.tenant_id)
    assert (one.name, one.source, one.digest) == (whole.name, "fetched", "e" * 64)
    assert (one.runs_on, one.adapter) == ("", "")


async def test_without_a_worker_for_the_base_nothing_is_served(
    database: Database, caller: Caller
) -> None:
    await version(database, caller, Served("no-worker-serves-this", "nowhere", 8, digest="d" * 64))
    assert await served(database, caller) == []
