"""Files as OpenAI's own client sends, lists, reads and deletes them; and all that must be refused."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types import FilePurpose
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests import asking
from tests.api.conftest import Served
from tests.rig import Rig
from tests.waiting import eventually

LINES = b'{"custom_id": "1"}\n{"custom_id": "2"}\n'
FILES = "/v1/files"
MIB = 1024 * 1024


async def test_a_file_comes_back_as_it_was_sent(ai: AsyncOpenAI, served: Served) -> None:
    made = await ai.files.create(file=("lines.jsonl", LINES), purpose="batch")
    assert (made.object, made.bytes, made.status) == ("file", len(LINES), "processed")
    assert (made.filename, made.purpose, made.expires_at) == ("lines.jsonl", "batch", None)
    assert made.sha256 == hashlib.sha256(LINES).hexdigest()  # type: ignore[attr-defined]
    assert await ai.files.retrieve(made.id) == made
    assert (await ai.files.content(made.id)).content == LINES
    assert f"files/{made.id}" in await served.keys()
    gone = await ai.files.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "file", True)
    for ask in (ai.files.retrieve, ai.files.content, ai.files.delete):
        with pytest.raises(openai.NotFoundError):
            await ask(made.id)

    async def deleted() -> bool:
        return f"files/{made.id}" not in await served.keys()

    await eventually(deleted, "the bytes to follow their row")


async def test_a_large_file_comes_back_as_it_was_sent(ai: AsyncOpenAI, tmp_path: Path) -> None:
    data = os.urandom(23 * MIB + 7)
    (tmp_path / "data.bin").write_bytes(data)
    made = await ai.files.create(file=tmp_path / "data.bin", purpose="user_data")
    assert (made.filename, made.bytes) == ("data.bin", len(data))
    assert (await ai.files.content(made.id)).content == data


@pytest.mark.parametrize("name", ["übung.jsonl", "数据 集.txt", "a" * 255, "🎉.bin", "a;b=c.txt"])
async def test_a_name_is_kept_as_it_is(ai: AsyncOpenAI, http: httpx.AsyncClient, name: str) -> None:
    made = await ai.files.create(file=(name, LINES), purpose="vision")
    assert made.filename == name
    answer = await http.get(f"{FILES}/{made.id}/content")
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")


async def test_the_content_says_what_it_is_and_never_runs_as_a_page(
    ai: AsyncOpenAI, http: httpx.AsyncClient
) -> None:
    made = await ai.files.create(file=("page.html", b"<script>"), purpose="user_data")
    answer = await http.get(f"{FILES}/{made.id}/content")
    assert answer.headers["content-length"] == "8"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=0-3", 206, b"0123"), ("bytes=7-", 206, b"789"), ("bytes=-2", 206, b"89"),
        ("bytes=8-99", 206, b"89"), ("bytes=-99", 200, b"0123456789"),
        ("bytes=5-2", 200, b"0123456789"), ("lines=1-2", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"), ("bytes=10-", 416, None), ("bytes=-0", 416, None),
    ],
)  # fmt: skip
async def test_a_range_is_answered_alone(
    ai: AsyncOpenAI, http: httpx.AsyncClient, wanted: str, status: int, content: bytes | None
) -> None:
    made = await ai.files.create(file=("digits", b"0123456789"), purpose="user_data")
    answer = await http.get(f"{FILES}/{made.id}/content", headers={"range": wanted})
    if content is None:
        asking.error(answer, status)
        assert answer.headers["content-range"] == "bytes */10"
        return
    assert (answer.status_code, answer.content) == (status, content)
    assert ("content-range" in answer.headers) == (status == 206)


async def test_a_list_is_paged_by_the_client_itself(ai: AsyncOpenAI) -> None:
    purposes: list[FilePurpose] = ["batch", "evals", "batch", "batch", "vision"]
    made = [
        (await ai.files.create(file=(f"{n}", LINES), purpose=purpose)).id
        for n, purpose in enumerate(purposes)
    ]
    assert [f.id async for f in ai.files.list(limit=2)] == made[::-1]
    assert [f.id async for f in ai.files.list(limit=2, order="asc")] == made
    assert [f.id async for f in ai.files.list(purpose="batch")] == [made[3], made[2], made[0]]
    page = await ai.files.list(after=made[2], limit=1)
    assert ([f.id for f in page.data], page.has_more) == ([made[1]], True)


async def test_a_file_expires_when_it_was_asked_to(ai: AsyncOpenAI, db: Database) -> None:
    made = await ai.files.create(
        file=("f", LINES), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == made.created_at + 3600
    async with db.begin() as session:
        await session.execute(
            text("UPDATE files SET expires_at = now() WHERE id = :id"), {"id": made.id}
        )
    with pytest.raises(openai.NotFoundError):
        await ai.files.retrieve(made.id)
    assert [f.id async for f in ai.files.list()] == []


async def test_tenants_do_not_see_each_other(ai: AsyncOpenAI, rig: Rig, served: Served) -> None:
    made = await ai.files.create(file=("f", LINES), purpose="batch")
    async with served.client(await rig.key(new_id("t"))) as other:
        assert (await other.get(FILES)).json()["data"] == []
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            asking.error(await other.request(method, f"{FILES}/{made.id}{path}"), 404, "file_id")
    assert await ai.files.retrieve(made.id) == made


FILE = ("file", ("f.jsonl", LINES))
BATCH = {"purpose": "batch"}
REFUSED: list[tuple[dict[str, Any], list[Any], str]] = [
    ({}, [FILE], "purpose"),
    ({"purpose": "world-domination"}, [FILE], "purpose"),
    ({"purpose": "batch_output"}, [FILE], "purpose"),
    ({"purpose": "x" * 5000}, [FILE], "purpose"),
    (BATCH, [], "file"),
    (BATCH | {"file": "text"}, [("other", ("x", b"x"))], "file"),
    (BATCH, [("file", ("f.jsonl", b""))], "file"),
    (BATCH, [("file", ("../f.jsonl", LINES))], "file"),
    (BATCH, [("file", ("a/b", LINES))], "file"),
    (BATCH, [("file", ("a\\b", LINES))], "file"),
    (BATCH, [("file", ("..", LINES))], "file"),
    (BATCH, [("file", ("x" * 256, LINES))], "file"),
    (BATCH, [FILE, FILE], "file"),
    (BATCH | {"colour": "red"}, [FILE], "colour"),
    (BATCH | {"expires_after[seconds]": "3600"}, [FILE], "expires_after.anchor"),
    (BATCH | {"expires_after[anchor]": "created_at"}, [FILE], "expires_after.seconds"),
    (
        BATCH | {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
        [FILE], "expires_after.seconds",
    ),
    (
        BATCH | {"expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
        [FILE], "expires_after.seconds",
    ),
    (
        BATCH | {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
        [FILE], "expires_after.anchor",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "files", "param"), REFUSED, ids=lambda v: str(v)[:50])
async def test_a_wrong_field_is_named_and_nothing_is_kept(
    http: httpx.AsyncClient, served: Served, data: dict[str, str], files: list[Any], param: str
) -> None:
    before = await served.keys()
    files = files or [("nothing", ("x", b"x"))]
    error = asking.error(await http.post(FILES, data=data, files=files), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] in (param, "nothing", "other")
    assert (await http.get(FILES)).json()["data"] == []
    assert await served.keys() <= before


def form(*parts: bytes, boundary: bytes = b"X") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + one for one in parts) + b"--X--\r\n"


def part(header: bytes, body: bytes = b"") -> bytes:
    return b"Content-Disposition: form-data; " + header + b"\r\n\r\n" + body + b"\r\n"


PURPOSE = part(b'name="purpose"', b"batch")
GOOD = part(b'name="file"; filename="f"', LINES)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"hello", b"--X", b"--X\r\n", b"--X--\r\n",
        form(PURPOSE, GOOD)[:-6], form(PURPOSE, GOOD)[:-12], form(PURPOSE, GOOD, boundary=b"Y"),
        form(b"Content-Disposition: attachment\r\n\r\nx\r\n"), form(b"\r\n\r\n"),
        form(b"no header at all\r\n\r\nx\r\n"),
        form(PURPOSE, part(b'name="file"; filename="a\0b"', LINES)),
        form(PURPOSE, part(b'name="file"; filename="a\x01b"', LINES)),
        form(PURPOSE, part(b'name="file"; filename="a\nb"', LINES)),
        form(PURPOSE, part(b'name="file"; filename="\xff"', LINES)),
        form(PURPOSE, part(b'name="file"; filename=""', LINES)),
        form(PURPOSE, part(b'name="fi\0le"; filename="f"', LINES)),
        form(part(b'name="purpose"', b"ba\0tch"), GOOD),
        form(part(b'name="purpose"', b"\xff\xfe"), GOOD),
        form(GOOD, part(b'name="purpose"', b"nonsense")), form(GOOD),
        form(*[part(b'name="n%d"' % n, b"x") for n in range(40)], GOOD),
        form(b"X-Header: " + b"x" * 100_000 + b"\r\n" + GOOD),
        form(b"".join(b"X-%d: x\r\n" % n for n in range(100)) + GOOD),
    ],
    ids=lambda body: repr(body[:40]) + str(len(body)),
)  # fmt: skip
async def test_a_broken_form_is_refused_and_nothing_is_kept(
    http: httpx.AsyncClient, served: Served, body: bytes
) -> None:
    before = await served.keys()
    headers = {"content-type": "multipart/form-data; boundary=X"}
    error = asking.error(await http.post(FILES, content=body, headers=headers), 400)
    assert error["type"] == "invalid_request_error"
    assert (await http.get(FILES)).json()["data"] == []
    assert await served.keys() <= before


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_form_may_arrive_in_any_pieces_and_order(
    http: httpx.AsyncClient, size: int
) -> None:
    data = b"\r\n--X\r\n--" + os.urandom(500) + b"\r\n-"
    body = form(part(b'name="file"; filename="f"', data.replace(b"\r\n--X", b"")), PURPOSE)

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), size):
            yield body[begin : begin + size]

    headers = {"content-type": "multipart/form-data; boundary=X"}
    answer = await http.post(FILES, content=pieces(), headers=headers)
    assert answer.status_code == 200, answer.text
    read = await http.get(f"{FILES}/{answer.json()['id']}/content")
    assert read.content == data.replace(b"\r\n--X", b"")


@pytest.mark.parametrize(
    "boundary", ["x" * 5000, '"', "é", "a b", "'\"';", "X; boundary=Y", "X; X; X"]
)
async def test_a_strange_boundary_is_refused(http: httpx.AsyncClient, boundary: str) -> None:
    headers = {b"content-type": f"multipart/form-data; boundary={boundary}".encode("latin-1")}
    body = form(PURPOSE, GOOD, boundary=b"Z")
    asking.error(await http.post(FILES, content=body, headers=headers), 400)


@pytest.mark.parametrize("sort", ["application/json", "multipart/form-data", ""])
async def test_another_content_type_is_told_which_one_to_send(
    http: httpx.AsyncClient, sort: str
) -> None:
    headers = {"content-type": sort} if sort else {}
    error = asking.error(await http.post(FILES, content=b"{}", headers=headers), 400)
    assert "multipart/form-data" in error["message"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"), ("limit=10001", "limit"), ("order=up", "order"),
        ("after=job_x", "after"), ("after=%00", "after"), ("purpose=%00", "purpose"),
    ],
)  # fmt: skip
async def test_a_wrong_query_is_named(http: httpx.AsyncClient, query: str, param: str) -> None:
    asking.error(await http.get(f"{FILES}?{query}"), 400, param)


@pytest.mark.parametrize("file_id", ["x", "file_x", "%00", "file_" + "0" * 26, "%ff"])
async def test_an_unknown_file_is_not_found(http: httpx.AsyncClient, file_id: str) -> None:
    for path in ("", "/content"):
        asking.error(await http.get(f"{FILES}/{file_id}{path}"), 404)
    asking.error(await http.delete(f"{FILES}/{file_id}"), 404)


async def test_a_client_that_goes_away_leaves_nothing(
    served: Served, key: str, http: httpx.AsyncClient
) -> None:
    before = await served.keys()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"--X\r\n" + PURPOSE + b"--X\r\n" + part(b'name="file"; filename="f"')[:-2]
        for _ in range(12):
            yield os.urandom(MIB)
        await asyncio.Event().wait()

    async def unfinished() -> bool:
        return bool(served.unfinished())

    async def tidy() -> bool:
        return not served.unfinished()

    headers = {"content-type": "multipart/form-data; boundary=X"}
    async with served.client(key) as going:
        sending = asyncio.create_task(going.post(FILES, content=stuck(), headers=headers))
        await eventually(unfinished, "bytes to arrive")
        sending.cancel()
        await asyncio.wait({sending})
    await eventually(tidy, "what arrived to be taken away")
    assert (await http.get(FILES)).json()["data"] == []
    assert await served.keys() <= before


async def test_without_a_key_nothing_is_taken(served: Served) -> None:
    before = await served.keys()
    async with httpx.AsyncClient(base_url=served.base_url, trust_env=False) as nobody:
        files = {"file": ("f", LINES)}
        asking.error(await nobody.post(FILES, data=BATCH, files=files), 401)
        asking.error(await nobody.get(FILES), 401)
    assert await served.keys() <= before
