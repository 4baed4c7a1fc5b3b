"""The sweep takes what time has ended and what nobody names, and nothing else; on both kinds of store."""

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from core.config import Settings
from core.db.session import Database
from core.errors import NotFound
from core.files import service, sweep, uploads
from core.files.tables import File, Upload
from core.ids import new_id
from core.security.keys import Caller
from core.storage.place import storage_of
from core.storage.seam import Storage
from tests.fakes.s3 import BUCKET, S3Server
from workers import files


async def _bytes(data: bytes = b"content") -> AsyncIterator[bytes]:
    yield data


class Place:
    """A store whose keys can be made to look old."""

    def __init__(self, storage: Storage, root: Path, notes: Path | None = None) -> None:
        self.storage = storage
        self._root = root
        self._notes = notes

    def age(self, *keys: str) -> None:
        then = datetime.now(UTC) - sweep.UNCLAIMED_FOR - timedelta(minutes=1)
        for key in keys:
            os.utime(self._root / key, (then.timestamp(), then.timestamp()))
            if self._notes is not None:
                # What the S3 server knows of an object stands beside it.
                note = self._notes / f"{key}.json"
                old = json.loads(note.read_text()) | {"last_modified": then.isoformat()}
                note.write_text(json.dumps(old))

    async def keys(self) -> set[str]:
        return {f.key for p in ("files", "parts") async for f in self.storage.listed(p)}


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(storage_of(Settings(_env_file=None, storage_url=str(tmp_path))), tmp_path)
    s3: S3Server = request.getfixturevalue("s3")
    prefix = new_id("p")
    bucket = s3.folder / BUCKET
    notes = bucket / ".nanio-meta" / prefix
    return Place(storage_of(s3.settings(prefix)), bucket / prefix, notes)


async def _file(database: Database, place: Place, caller: Caller) -> File:
    kept = await service.keep(place.storage, _bytes(), limit=100)
    async with database.begin() as session:
        return await service.add(
            session, caller.tenant_id, kept, filename="f", purpose="batch", keep_s=3600
        )


async def _upload(database: Database, place: Place, caller: Caller) -> tuple[Upload, str]:
    part_id = new_id("part")
    stored = await place.storage.write(uploads.key_of(part_id), _bytes())
    async with database.begin() as session:
        upload = await uploads.create(
            session, caller, filename="f", purpose="batch", mime_type="x", size=7, keep_s=None,
            limit=100,
        )  # fmt: skip
        await uploads.add_part(session, caller, upload.id, part_id, stored)
    return upload, uploads.key_of(part_id)


async def _expire(database: Database, table: str, row: str, by: timedelta) -> None:
    async with database.begin() as session:
        await session.execute(
            text(f"UPDATE {table} SET expires_at = now() - cast(:by AS interval) WHERE id = :id"),
            {"by": by, "id": row},
        )


async def test_an_expired_file_goes_with_its_bytes(
    database: Database, place: Place, caller: Caller
) -> None:
    gone, stays = [await _file(database, place, caller) for _ in range(2)]
    await _expire(database, "files", gone.id, timedelta(seconds=1))
    await files.expire(database, place.storage)
    assert await place.keys() == {service.key_of(stays.id)}
    async with database.begin() as session:
        assert (await service.get(session, caller, stays.id)).id == stays.id
        with pytest.raises(NotFound):
            await service.get(session, caller, gone.id)
        assert await session.get(File, gone.id) is None


async def test_an_abandoned_upload_goes_with_its_parts(
    database: Database, place: Place, caller: Caller
) -> None:
    (gone, _), (late, kept) = [await _upload(database, place, caller) for _ in range(2)]
    await _expire(database, "uploads", gone.id, sweep.GRACE + timedelta(seconds=1))
    # A client may have asked in time for this one to be completed, and it is being read.
    await _expire(database, "uploads", late.id, timedelta(seconds=1))
    await files.expire(database, place.storage)
    assert await place.keys() == {kept}
    async with database.begin() as session:
        assert (await uploads.get(session, caller, gone.id)).status == "expired"
        assert (await uploads.get(session, caller, late.id)).status == "pending"


async def test_an_ended_upload_is_forgotten_after_a_month(
    database: Database, place: Place, caller: Caller
) -> None:
    upload, _ = await _upload(database, place, caller)
    async with database.begin() as session:
        await uploads.cancel(session, caller, upload.id)
        await session.execute(
            text("UPDATE uploads SET created_at = now() - interval '31 d' WHERE id = :id"),
            {"id": upload.id},
        )
    await files.expire(database, place.storage)
    async with database.begin() as session:
        with pytest.raises(NotFound):
            await uploads.get(session, caller, upload.id)


async def test_bytes_without_a_row_go_after_an_hour(
    database: Database, place: Place, caller: Caller
) -> None:
    file = await _file(database, place, caller)
    _, part = await _upload(database, place, caller)
    lost = [service.key_of(new_id("file")), uploads.key_of(new_id("part"))]
    fresh = service.key_of(new_id("file"))
    for key in (*lost, fresh):
        await place.storage.write(key, _bytes())
    place.age(*lost, part, service.key_of(file.id))
    assert await files.reclaim(database, place.storage) == 2
    assert await place.keys() == {service.key_of(file.id), part, fresh}
    assert await files.reclaim(database, place.storage) == 0


async def test_more_than_a_batch_is_walked_through(
    database: Database, place: Place, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 3)
    keys = [service.key_of(new_id("file")) for _ in range(8)]
    for key in keys:
        await place.storage.write(key, _bytes())
    place.age(*keys)
    assert await files.reclaim(database, place.storage) == 8
    for _ in range(7):
        await _expire(
            database, "files", (await _file(database, place, caller)).id, timedelta(seconds=1)
        )
    while await files.expire(database, place.storage):
        pass
    assert await place.keys() == set()
