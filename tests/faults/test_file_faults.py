"""Files while the store, the API or Postgres dies: what was answered is there, what was not is nowhere."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from core.storage.place import storage_of
from core.storage.seam import Storage
from tests import asking
from tests.fakes.s3 import S3Server, server
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

MIB = 1024 * 1024
FILES = "/v1/files"
FORM = {"content-type": "multipart/form-data; boundary=X"}
HEAD = (
    b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--X\r\n'
    b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
)
END = b"\r\n--X--\r\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    made = server(Path(tmp_path_factory.mktemp("s3")))
    made.part.start()
    yield made
    made.part.cont()
    made.part.kill()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, store: S3Server) -> Iterator[Rig]:
    """Penstock on an S3 server, all of which may be killed."""
    env = store.env() | {"PENSTOCK_FILES_SWEEP_EVERY_S": "0.2"}
    made = Rig(Path(tmp_path_factory.mktemp("files")), env)
    try:
        made.start_stack()
        made.start("api", "control", "inference")
        yield made
    finally:
        made.end()


@pytest.fixture
async def client(own: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with own.client(await own.key(new_id("t"))) as opened:
        yield opened


@pytest.fixture
def storage(store: S3Server) -> Storage:
    return storage_of(store.settings())


async def keys(storage: Storage) -> set[str]:
    return {found.key async for found in storage.listed("files")}


async def sent(client: httpx.AsyncClient, data: bytes = b"content") -> str:
    answer = await client.post(FILES, files={"file": ("f", data)}, data={"purpose": "batch"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_while_the_store_is_away_files_are_503_and_jobs_are_accepted(
    client: httpx.AsyncClient, store: S3Server
) -> None:
    file = await sent(client)
    store.part.kill()
    try:
        ready = await client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["checks"]["storage"].startswith("unavailable")
        form = {"files": {"file": ("f", b"x")}, "data": {"purpose": "batch"}}
        for answer in (
            await client.post(FILES, **form),  # type: ignore[arg-type]
            await client.get(f"{FILES}/{file}/content"),
        ):
            assert asking.error(answer, 503)["code"] == "storage_unavailable"
            assert answer.headers["retry-after"]
            assert "127.0.0.1" not in answer.text
        assert (await client.get(f"{FILES}/{file}")).status_code == 200
        await asking.submit(client)
    finally:
        store.part.start()
    assert (await client.get(f"{FILES}/{file}/content")).content == b"content"
    assert len((await client.get(FILES)).json()["data"]) == 1


async def test_a_file_deleted_while_the_store_is_away_is_gone_at_once(
    client: httpx.AsyncClient, store: S3Server
) -> None:
    file = await sent(client)
    store.part.kill()
    try:
        assert (await client.delete(f"{FILES}/{file}")).json()["deleted"] is True
        asking.error(await client.get(f"{FILES}/{file}/content"), 404)
    finally:
        store.part.start()


async def test_health_does_not_hang_with_the_store(
    client: httpx.AsyncClient, store: S3Server
) -> None:
    store.part.stop()
    try:
        checks = (await client.get("/health/ready")).json()["checks"]
        assert checks["storage"] == "no answer within 2 s"
    finally:
        store.part.cont()


async def test_a_store_that_dies_during_a_download_tears_it(
    client: httpx.AsyncClient, store: S3Server
) -> None:
    file = await sent(client, os.urandom(64 * MIB))

    async def read() -> None:
        async with client.stream("GET", f"{FILES}/{file}/content") as content:
            async for _ in content.aiter_raw():
                store.part.kill()

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    store.part.start()
    assert len((await client.get(f"{FILES}/{file}/content")).content) == 64 * MIB
    await client.delete(f"{FILES}/{file}")


async def test_an_api_that_is_killed_during_an_upload_leaves_no_file(
    own: Rig, client: httpx.AsyncClient, store: S3Server, storage: Storage
) -> None:
    before = await keys(storage)

    async def stuck() -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(16):
            yield os.urandom(MIB)
        await asyncio.Event().wait()

    async def arrived() -> bool:
        return bool(store.unfinished())

    sending = asyncio.create_task(client.post(FILES, content=stuck(), headers=FORM))
    await eventually(arrived, "bytes to arrive in the store")
    own.parts["api"].kill()
    sending.cancel()  # it waits for its own next piece, and would not notice
    await asyncio.wait({sending})
    own.parts["api"].start(120)
    assert (await client.get(FILES)).json()["data"] == []
    assert await keys(storage) == before


async def test_without_postgres_at_the_end_of_an_upload_there_is_no_file(
    own: Rig, client: httpx.AsyncClient, storage: Storage
) -> None:
    await sent(client)
    before, arrived, go_on = await keys(storage), asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield HEAD + b"first half, "
        arrived.set()
        await go_on.wait()
        yield b"second half" + END

    sending = asyncio.create_task(client.post(FILES, content=halting(), headers=FORM))
    await arrived.wait()
    own.stack.parts["postgres"].end()
    go_on.set()
    try:
        asking.error(await sending, 503)
    finally:
        own.stack.parts["postgres"].start()

    async def listed() -> list[str]:
        answer = await client.get(FILES)
        return [f["id"] for f in answer.json()["data"]] if answer.status_code == 200 else []

    assert len(await eventually(listed, "Postgres to be back")) == 1
    # Whether the commit was made is not known to the API, so the bytes wait for the sweep.
    assert len(await keys(storage) - before) == 1


async def test_control_deletes_what_has_expired(
    own: Rig, client: httpx.AsyncClient, storage: Storage
) -> None:
    file = await sent(client)
    database = Database(own.settings(), name="test", pool=1)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE files SET expires_at = now() WHERE id = :id"), {"id": file}
        )
    await database.close()

    async def gone() -> bool:
        return f"files/{file}" not in await keys(storage)

    await eventually(gone, "the sweep to delete its bytes")
    asking.error(await client.get(f"{FILES}/{file}"), 404)
