"""The catalog's sweep takes what nobody refers to any more, and never what somebody is about to."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from core.catalog import artifacts, datasets, stages, sweep, versions
from core.catalog.artifacts import Artifact
from core.catalog.datasets import NewDataset
from core.catalog.models import Served
from core.catalog.tables import DatasetVersion, Version
from core.catalog.versions import NewVersion
from core.config import Settings
from core.db.session import Database
from core.errors import NotFound, Unavailable
from core.ids import new_id
from core.jobs.job import State
from core.security.keys import Caller
from core.storage.place import storage_of
from core.storage.seam import Storage
from tests.core import cataloguing as given
from tests.core.cataloguing import adapter, ended, running
from workers import catalog

DAY = timedelta(days=1)


class Place:
    """A store of its own in a folder, and the settings that name it."""

    def __init__(self, root: Path, tmp: Path) -> None:
        self.settings = Settings(_env_file=None, storage_url=str(root), retired_keep_d=30)
        self.storage: Storage = storage_of(self.settings)
        self._root, self._tmp = root, tmp

    async def keep(self, mark: bytes = b"") -> Artifact:
        """An adapter of these four bytes; without any, one that nothing else has."""
        data = mark or os.urandom(4)
        folder = adapter(self._tmp / new_id("out"), data)
        return await artifacts.keep(self.storage, folder, "adapter")

    async def keys(self) -> set[str]:
        return {found.key async for found in self.storage.listed(artifacts.KEYS)}

    def age(self, keys: list[str], by: timedelta) -> None:
        then = (datetime.now(UTC) - by).timestamp()
        for key in keys:
            os.utime(self._root / key, (then, then))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "store", tmp_path)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


async def _age(database: Database, table: str, column: str, key: str, by: timedelta) -> None:
    id_column = "digest" if table == "artifacts" else "id"
    async with database.begin() as session:
        await session.execute(
            text(
                f"UPDATE {table} SET {column} = now() - cast(:by AS interval) WHERE {id_column} = :key"
            ),
            {"by": by, "key": key},
        )


async def _retired(
    database: Database, caller: Caller, model: Served, kept: Artifact, ago: timedelta
) -> Version:
    made = await given.version(database, caller, model, kept)
    async with database.begin() as session:
        await stages.retire(session, caller, made.name, "old")
    await _age(database, "versions", "retired_at", made.id, ago)
    await _age(database, "artifacts", "created_at", kept.digest, ago)
    return made


async def _version(database: Database, version_id: str) -> Version | None:
    async with database.begin() as session:
        return await session.get(Version, version_id)


async def test_what_was_retired_long_ago_loses_its_bytes_and_keeps_its_lineage(
    database: Database, place: Place, caller: Caller, model: Served
) -> None:
    old, young = await place.keep(), await place.keep()
    gone = await _retired(database, caller, model, old, 31 * DAY)
    stays = await _retired(database, caller, model, young, 29 * DAY)
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set(young.keys())
    found = await _version(database, gone.id)
    assert found is not None
    assert (found.artifact, found.digest, found.stage) == (None, old.digest, "retired")
    async with database.begin() as session:
        assert (await artifacts.get(session, stays.digest)).place == young.place
        with pytest.raises(NotFound) as missing:
            await artifacts.get(session, old.digest)
        assert missing.value.code == "artifact_missing"
        assert len(await stages.history(session, caller, gone.name)) == 1


async def test_what_another_version_has_too_stays(
    database: Database, place: Place, caller: Caller, model: Served
) -> None:
    kept = await place.keep()
    await _retired(database, caller, model, kept, 31 * DAY)
    other = await given.version(database, caller, model, kept)
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set(kept.keys())
    assert (await _version(database, other.id)).artifact == kept.digest  # type: ignore[union-attr]


async def test_a_job_under_way_keeps_what_it_was_accepted_for(
    database: Database, place: Place, caller: Caller, model: Served
) -> None:
    kept = await place.keep()
    made = await given.version(database, caller, model, kept)
    async with database.begin() as session:
        (tuned,) = await versions.served(session, caller.tenant_id)
    claim = await running(database, caller, tuned, "inference")
    async with database.begin() as session:
        await stages.retire(session, caller, made.name, "old")
    await _age(database, "versions", "retired_at", made.id, 31 * DAY)
    await _age(database, "artifacts", "created_at", kept.digest, 31 * DAY)
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set(kept.keys())
    assert await ended(database, claim)
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set()


async def test_a_retired_dataset_goes_once_no_job_reads_it(
    database: Database, place: Place, caller: Caller, model: Served
) -> None:
    kept = await place.keep()
    async with database.begin() as session:
        made = await datasets.add(session, NewDataset(caller.tenant_id, "d", {}), kept)
    async with database.begin() as session:
        await datasets.retire(session, caller, made.id)
    for table, column, key in (
        ("dataset_versions", "retired_at", made.id), ("artifacts", "created_at", kept.digest),
    ):  # fmt: skip
        await _age(database, table, column, key, 31 * DAY)
    claim = await running(database, caller, model, "finetune")
    async with database.begin() as session:
        await session.execute(
            text(
                "UPDATE jobs SET spec = jsonb_build_object('dataset', cast(:d AS text)) WHERE id = :id"
            ),
            {"d": made.id, "id": claim.id},
        )
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set(kept.keys())
    assert await ended(database, claim, State.FAILED)
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set()
    async with database.begin() as session:
        row = await session.get(DatasetVersion, made.id)
        assert row is not None
        assert (row.artifact, row.digest) == (None, kept.digest)
        with pytest.raises(NotFound):
            await datasets.get(session, caller, made.id)


@pytest.mark.parametrize("state", [None, State.FAILED, State.SUCCEEDED])
async def test_what_a_failed_job_made_is_forgotten(
    database: Database, place: Place, caller: Caller, model: Served, state: State | None
) -> None:
    kept = await place.keep()
    claim = await running(database, caller, model, "finetune")
    made = await given.version(database, caller, model, kept, job_id=claim.id)
    if state is not None:
        assert await ended(database, claim, state)
    await catalog.collect(database, place.storage, place.settings)
    assert await _version(database, made.id) is not None, "not at once"
    await _age(database, "versions", "created_at", made.id, sweep.GRACE + DAY)
    await _age(database, "artifacts", "created_at", kept.digest, sweep.GRACE + DAY)
    await catalog.collect(database, place.storage, place.settings)
    left = await _version(database, made.id)
    assert (left is None) == (state is State.FAILED)
    assert await place.keys() == (set() if state is State.FAILED else set(kept.keys()))


async def test_bytes_without_an_artefact_go_after_days(database: Database, place: Place) -> None:
    lost, young = await place.keep(), await place.keep()
    place.age(lost.keys(), sweep.UNCLAIMED_FOR + timedelta(minutes=1))
    claimed = await place.keep()
    place.age(claimed.keys(), 99 * DAY)
    async with database.begin() as session:
        await artifacts.add(session, claimed)
    done = await catalog.collect(database, place.storage, place.settings)
    assert done.unclaimed == len(lost.keys())
    assert await place.keys() == {*young.keys(), *claimed.keys()}


class Away:
    """A store that deletes nothing while it is away."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.listed = inner.listed

    async def delete(self, *keys: str) -> None:
        raise Unavailable(f"away, with {len(keys)} keys to delete")


async def test_bytes_whose_row_went_alone_go_later(database: Database, place: Place) -> None:
    kept = await _collectable(database, place, os.urandom(4))
    away: Storage = Away(place.storage)  # type: ignore[assignment]  # all that collect asks of it
    with pytest.raises(Unavailable):
        await catalog.collect(database, away, place.settings)
    assert await place.keys() == set(kept.keys())
    async with database.begin() as session:
        assert await artifacts.find(session, kept.digest) is None
    place.age(kept.keys(), sweep.UNCLAIMED_FOR + timedelta(minutes=1))
    await catalog.collect(database, place.storage, place.settings)
    assert await place.keys() == set()


async def _collectable(database: Database, place: Place, mark: bytes) -> Artifact:
    kept = await place.keep(mark)
    async with database.begin() as session:
        await artifacts.add(session, kept)
    await _age(database, "artifacts", "created_at", kept.digest, DAY)
    return kept


async def test_a_keep_that_comes_while_the_same_is_collected_has_its_own_bytes(
    database: Database, place: Place, caller: Caller, model: Served, tmp_path: Path
) -> None:
    mark = os.urandom(4)
    first = await _collectable(database, place, mark)
    again = await place.keep(mark)
    assert again.digest == first.digest
    new = NewVersion(caller.tenant_id, model.name, model.digest)
    async with database.begin() as collecting:
        assert first.digest in {a.digest for a in await sweep.unreferenced(collecting)}

        async def add() -> Version:
            async with database.begin() as session:
                return await versions.add(session, new, again)

        adding = asyncio.create_task(add())
        # It waits for us: what is being deleted is not referred to.
        done, _ = await asyncio.wait({adding}, timeout=0.3)
        assert not done
    made = await adding
    await place.storage.delete(*first.keys())
    async with database.begin() as session:
        found = await artifacts.get(session, made.digest)
    assert found.place == again.place
    await artifacts.fetch(place.storage, found, tmp_path / "in")


async def test_what_is_about_to_be_referred_to_is_passed_over(
    database: Database, place: Place, caller: Caller, model: Served
) -> None:
    kept = await _collectable(database, place, os.urandom(4))
    new = NewVersion(caller.tenant_id, model.name, model.digest)
    async with database.begin() as adding:
        await versions.add(adding, new, kept)
        async with database.begin() as collecting:
            assert kept.digest not in {a.digest for a in await sweep.unreferenced(collecting)}
    assert await place.keys() == set(kept.keys())


async def test_keeps_and_collections_at_once_leave_every_version_its_bytes(
    database: Database, place: Place, caller: Caller, model: Served, tmp_path: Path
) -> None:
    mark = os.urandom(4)

    async def keep_and_add() -> Version:
        kept = await place.keep(mark)
        return await given.version(database, caller, model, kept)

    async def collect() -> None:
        await catalog.collect(database, place.storage, place.settings)

    for _ in range(6):
        made, *_ = await asyncio.gather(
            keep_and_add(), collect(), keep_and_add(), collect(), collect()
        )
        async with database.begin() as session:
            found = await artifacts.get(session, made.digest)
        await artifacts.fetch(place.storage, found, tmp_path / new_id("in"))
        # And let go of, so that the next turn collects while it is kept again.
        async with database.begin() as session:
            await session.execute(
                text("UPDATE versions SET artifact = NULL WHERE digest = :d"), {"d": made.digest}
            )
        await _age(database, "artifacts", "created_at", made.digest, DAY)
