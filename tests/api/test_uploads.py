"""Uploads as OpenAI's own client makes them from parts; and all that must be refused."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests import asking
from tests.api.conftest import Served
from tests.rig import Rig
from tests.waiting import eventually

UPLOADS = "/v1/uploads"
MIB = 1024 * 1024
NEW: dict[str, Any] = {
    "bytes": 4, "filename": "f.jsonl", "mime_type": "application/jsonl", "purpose": "batch",
}  # fmt: skip


async def created(http: httpx.AsyncClient, **fields: Any) -> str:
    answer = await http.post(UPLOADS, json=NEW | fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def sent(http: httpx.AsyncClient, upload: str, data: bytes) -> str:
    answer = await http.post(f"{UPLOADS}/{upload}/parts", files={"data": ("d", data)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["upload_id"] == upload
    assert answer.json()["object"] == "upload.part"
    return str(answer.json()["id"])


async def complete(
    http: httpx.AsyncClient, upload: str, parts: list[str], **fields: Any
) -> httpx.Response:
    return await http.post(f"{UPLOADS}/{upload}/complete", json={"part_ids": parts} | fields)


async def no_parts(served: Served, *parts: str) -> None:
    """Wait until the bytes of these parts are gone."""

    async def gone() -> bool:
        return not {f"parts/{one}" for one in parts} & await served.keys()

    await eventually(gone, "the parts' bytes to be deleted")


async def test_the_client_uploads_a_large_file_in_parts(ai: AsyncOpenAI, tmp_path: Path) -> None:
    data = os.urandom(23 * MIB + 7)
    (tmp_path / "data.bin").write_bytes(data)
    done = await ai.uploads.upload_file_chunked(
        file=tmp_path / "data.bin", mime_type="application/octet-stream", purpose="user_data",
        part_size=6 * MIB, md5=hashlib.md5(data).hexdigest(),
    )  # fmt: skip
    assert (done.status, done.bytes, done.object) == ("completed", len(data), "upload")
    assert done.file is not None
    assert (done.file.filename, done.file.bytes) == ("data.bin", len(data))
    assert done.file.sha256 == hashlib.sha256(data).hexdigest()  # type: ignore[attr-defined]
    assert (await ai.files.content(done.file.id)).content == data
    assert [f.id async for f in ai.files.list()] == [done.file.id]


async def test_parts_are_put_together_in_the_order_that_is_said(
    http: httpx.AsyncClient, served: Served
) -> None:
    upload = await created(http, bytes=6)
    parts = await asyncio.gather(*(sent(http, upload, d) for d in (b"ab", b"cd", b"ef", b"not")))
    answer = await complete(http, upload, [parts[2], parts[0], parts[1]])
    body = answer.json()
    assert (body["status"], body["file"]["bytes"]) == ("completed", 6)
    content = await http.get(f"/v1/files/{body['file']['id']}/content")
    assert content.content == b"efabcd"
    await no_parts(served, *parts)


async def test_completing_again_with_the_same_parts_is_answered_alike(
    http: httpx.AsyncClient,
) -> None:
    upload = await created(http)
    part = await sent(http, upload, b"abcd")
    first = await complete(http, upload, [part])
    again = await complete(http, upload, [part])
    assert (again.status_code, again.json()) == (200, first.json())
    asking.error(await complete(http, upload, [part, part]), 409)
    assert len((await http.get("/v1/files")).json()["data"]) == 1


async def test_of_many_that_complete_at_once_one_makes_the_file(
    http: httpx.AsyncClient, served: Served
) -> None:
    upload = await created(http)
    part = await sent(http, upload, b"abcd")
    answers = await asyncio.gather(*(complete(http, upload, [part]) for _ in range(8)))
    assert {a.status_code for a in answers} == {200}, [a.text for a in answers]
    made = {a.json()["file"]["id"] for a in answers}
    assert len(made) == 1
    assert [f["id"] for f in (await http.get("/v1/files")).json()["data"]] == list(made)
    mine = {key for key in await served.keys() if key.startswith("files/")}
    assert f"files/{made.pop()}" in mine


async def test_a_wrong_checksum_is_refused_and_can_be_mended(http: httpx.AsyncClient) -> None:
    upload = await created(http)
    bad, good = await sent(http, upload, b"abxx"), await sent(http, upload, b"abcd")
    md5 = hashlib.md5(b"abcd").hexdigest()
    error = asking.error(await complete(http, upload, [bad], md5=md5), 400, "md5")
    assert error["code"] == "checksum_mismatch"
    assert (await http.get("/v1/files")).json()["data"] == []
    answer = await complete(http, upload, [good], md5=md5.upper())
    assert answer.json()["status"] == "completed"


async def test_an_upload_that_has_ended_takes_no_parts(
    http: httpx.AsyncClient, served: Served
) -> None:
    done, given_up = await created(http), await created(http)
    part = await sent(http, done, b"abcd")
    await complete(http, done, [part])
    waste = await sent(http, given_up, b"abcd")
    for _ in range(2):
        answer = await http.post(f"{UPLOADS}/{given_up}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    await no_parts(served, part, waste)
    for upload in (done, given_up):
        late = await http.post(f"{UPLOADS}/{upload}/parts", files={"data": ("d", b"abcd")})
        assert asking.error(late, 409, "upload_id")["code"] == "upload_not_pending"
        assert late.headers["x-should-retry"] == "false"
    asking.error(await complete(http, given_up, [waste]), 409)
    asking.error(await http.post(f"{UPLOADS}/{done}/cancel"), 409)


async def test_an_upload_expires_after_an_hour(http: httpx.AsyncClient, db: Database) -> None:
    made = (await http.post(UPLOADS, json=NEW)).json()
    assert made["expires_at"] == made["created_at"] + 3600
    async with db.begin() as session:
        await session.execute(
            text("UPDATE uploads SET expires_at = now() WHERE id = :id"), {"id": made["id"]}
        )
    late = await http.post(f"{UPLOADS}/{made['id']}/parts", files={"data": ("d", b"abcd")})
    assert "expired" in asking.error(late, 409)["message"]


async def test_the_file_of_an_upload_expires_as_it_was_asked_to(ai: AsyncOpenAI) -> None:
    upload = await ai.uploads.create(**NEW, expires_after={"anchor": "created_at", "seconds": 7200})
    part = await ai.uploads.parts.create(upload.id, data=b"abcd")
    done = await ai.uploads.complete(upload.id, part_ids=[part.id])
    assert done.file is not None
    assert done.file.expires_at == done.file.created_at + 7200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"bytes": 0}, "bytes"), ({"bytes": -1}, "bytes"), ({"bytes": "4"}, "bytes"),
        ({"bytes": None}, "bytes"), ({"filename": ""}, "filename"), ({"filename": "a/b"}, "filename"),
        ({"filename": "a\0"}, "filename"), ({"filename": "a\n"}, "filename"),
        ({"filename": "a" * 256}, "filename"), ({"mime_type": ""}, "mime_type"),
        ({"mime_type": "\0"}, "mime_type"), ({"purpose": "evil"}, "purpose"),
        ({"purpose": None}, "purpose"), ({"colour": "red"}, "colour"),
        ({"expires_after": {"anchor": "now", "seconds": 7200}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
        ({"expires_after": 3600}, "expires_after"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named(
    http: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    asking.error(await http.post(UPLOADS, json=NEW | fields), 400, param)


async def test_parts_that_do_not_make_the_file_are_refused(
    http: httpx.AsyncClient, ai: AsyncOpenAI
) -> None:
    upload, other = await created(http), await created(http)
    ab, cd, elsewhere = [await sent(http, u, d) for u, d in
                         ((upload, b"ab"), (upload, b"cd"), (other, b"cd"))]  # fmt: skip
    wrong: list[list[Any]] = [
        [ab], [ab, ab], [ab, elsewhere], [ab, "part_none"], [ab, "\0"], [], [7], ["x" * 65],
    ]  # fmt: skip
    for part_ids in wrong:
        error = asking.error(await complete(http, upload, part_ids), 400)
        assert error["param"].startswith("part_ids")
    for md5 in ("", "x" * 32, 7):
        asking.error(await complete(http, upload, [ab, cd], md5=md5), 400, "md5")
    with pytest.raises(openai.BadRequestError):
        await ai.uploads.complete(upload, part_ids=[])
    assert (await complete(http, upload, [ab, cd])).status_code == 200


async def test_a_wrong_part_is_refused_and_not_kept(
    http: httpx.AsyncClient, served: Served
) -> None:
    upload, before = await created(http), await served.keys()
    url = f"{UPLOADS}/{upload}/parts"
    asking.error(await http.post(url, files={"data": ("d", b"")}), 400, "data")
    asking.error(await http.post(url, files={"other": ("d", b"x")}), 400)
    asking.error(await http.post(url, data={"data": "x"}, files={"x": b""}), 400, "data")
    asking.error(await http.post(url, data={"more": "x"}, files={"data": b"x"}), 400, "more")
    asking.error(await http.post(url, json={}), 400)
    # Twice the announced bytes may be sent, since a client may send a part again.
    await sent(http, upload, b"12345678")
    asking.error(await http.post(url, files={"data": b"9"}), 413, "data")
    assert len(await served.keys() - before) == 1


async def test_tenants_do_not_see_each_other(
    http: httpx.AsyncClient, served: Served, rig: Rig
) -> None:
    upload = await created(http)
    part = await sent(http, upload, b"abcd")
    async with served.client(await rig.key(new_id("t"))) as other:
        for path, body in (("parts", None), ("complete", {"part_ids": [part]}), ("cancel", None)):
            files = {"data": ("d", b"x")} if path == "parts" else None
            answer = await other.post(f"{UPLOADS}/{upload}/{path}", json=body, files=files)
            asking.error(answer, 404, "upload_id")
    for unknown in ("x", "%00", "upload_" + "0" * 26):
        asking.error(await http.post(f"{UPLOADS}/{unknown}/cancel"), 404, "upload_id")
    assert (await complete(http, upload, [part])).status_code == 200
