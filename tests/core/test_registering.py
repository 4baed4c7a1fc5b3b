"""Two workers that serve one name serve the same files; the second with others is refused at its start."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from core.catalog import models
from core.catalog.models import Served
from core.config import Settings
from core.db.session import Database
from core.errors import Refused
from core.ids import new_id
from core.jobs.kinds import RANKS, queue_name
from workers.presence import Presence


def served() -> Served:
    return Served(new_id("m"), "here", 2048, digest="a" * 64)


async def register(database: Database, model: Served) -> None:
    async with database.begin() as session:
        await models.register(session, model)


async def digest(database: Database, model: Served) -> str:
    async with database.begin() as session:
        return next(m.digest for m in await models.listed(session) if m.name == model.name)


async def settled(database: Database, model: Served) -> None:
    """Let the moment pass in which a worker has registered and is not to be seen yet."""
    async with database.begin() as session:
        await session.execute(
            text("UPDATE models SET seen_at = now() - interval '1 min' WHERE name = :name"),
            {"name": model.name},
        )


async def test_while_a_worker_lives_its_name_is_for_its_files(
    database: Database, postgres_url: str
) -> None:
    model = served()
    other = replace(model, digest="b" * 64)
    queues = [queue_name(model.kind, priority, model.name) for priority in RANKS]
    config = Settings(_env_file=None, database_url=postgres_url)
    presence, held = Presence(config, new_id("wrk"), model.kind, queues, 1), asyncio.Event()
    await register(database, model)
    living = asyncio.create_task(presence.hold(held))
    await held.wait()
    await settled(database, model)
    with pytest.raises(Refused) as refused:
        await register(database, other)
    assert refused.value.code == "model_conflict"
    for said in (model.name, model.digest, other.digest, presence._row[0], "PENSTOCK_MODEL_NAME"):
        assert str(said) in refused.value.message
    assert await digest(database, model) == model.digest
    # The same files again, or files whose digest is not known, are no conflict.
    await register(database, model)
    await settled(database, model)
    # One that drains takes nothing more: its name is free for what follows.
    async with database.begin() as session:
        await session.execute(
            text("UPDATE workers SET draining = true WHERE id = :id"), {"id": presence._row[0]}
        )
        await models.register(session, other)
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)


async def test_a_worker_that_died_holds_no_name(database: Database) -> None:
    model = served()
    await register(database, model)
    async with database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO workers (id, role, queues, slots, host, pid)"
                " VALUES (:id, 'inference', ARRAY[:queue], 1, 'h', 1)"
            ),
            {"id": new_id("wrk"), "queue": queue_name("inference", "interactive", model.name)},
        )
    await settled(database, model)
    await register(database, replace(model, digest="b" * 64))
    assert await digest(database, model) == "b" * 64


async def test_of_two_that_start_at_once_one_is_refused(database: Database) -> None:
    model = served()
    await register(database, model)
    await settled(database, model)
    both = [register(database, replace(model, digest=c * 64)) for c in "bc"]
    done = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(isinstance(one, Refused) for one in done) == [False, True], done
