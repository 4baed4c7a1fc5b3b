"""How much may be sent, and that a large file costs the API no memory."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.storage.folder import WRITING
from core.storage.place import storage_of
from infra.part import Part
from tests import asking
from tests.api.conftest import Served
from tests.rig import Rig

FILES = "/v1/files"
MIB = 1024 * 1024
LIMIT = 2 * MIB
LARGE = 200 * MIB
# What streams through may be held a few times a part of 5 MiB; the file itself is 200 MiB.
GROWTH = 64 * MIB


@pytest.fixture(scope="module")
def small(rig: Rig) -> Iterator[Served]:
    """An API process that takes files of up to LIMIT bytes."""
    part = rig.process("api", 3)
    part.env |= {"PENSTOCK_MAX_FILE_BYTES": str(LIMIT), "PENSTOCK_MAX_UPLOAD_BYTES": str(3 * LIMIT)}
    part.start(120)
    url = f"http://127.0.0.1:{rig.ports['api3']}"
    writing = rig.folder / "files" / WRITING
    yield Served(rig, part, url, storage_of(rig.settings()), lambda: list(writing.glob("*")))
    part.end()


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 5 * LIMIT])
@pytest.mark.parametrize("declared", [True, False])
async def test_a_file_over_the_limit_is_refused(
    small: Served, key: str, size: int, declared: bool
) -> None:
    before = await small.keys()
    async with small.client(key) as client:
        files = {"file": ("f", b"x" * size)}
        ready = client.build_request("POST", FILES, data={"purpose": "batch"}, files=files)
        body = await ready.aread()

        async def pieces() -> AsyncIterator[bytes]:
            for begin in range(0, len(body), 65536):
                yield body[begin : begin + 65536]

        answer = await client.post(
            FILES,
            content=body if declared else pieces(),
            headers={"content-type": ready.headers["content-type"]},
        )
        if size == LIMIT:
            assert answer.json()["bytes"] == LIMIT
            return
        error = asking.error(answer, 413)
        assert error["code"] == "body_too_large"
        assert (await client.get(FILES)).json()["data"] == []
    assert await small.keys() <= before
    assert small.unfinished() == []


async def test_a_client_that_asks_first_sends_nothing_in_vain(small: Served, key: str) -> None:
    port = int(small.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {FILES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {LARGE}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_an_upload_over_the_limit_is_refused_when_it_is_announced(
    small: Served, key: str
) -> None:
    async with AsyncOpenAI(base_url=f"{small.base_url}/v1", api_key=key, max_retries=0) as ai:
        new: dict[str, Any] = {"filename": "f", "mime_type": "text/plain", "purpose": "batch"}
        await ai.uploads.create(bytes=3 * LIMIT, **new)
        with pytest.raises(openai.APIStatusError) as refused:
            await ai.uploads.create(bytes=3 * LIMIT + 1, **new)
        assert (refused.value.status_code, refused.value.param) == (413, "bytes")


class Peak:
    """The most memory a process has held since this was made."""

    def __init__(self, part: Part) -> None:
        self._proc = Path("/proc") / str(part.pid)
        (self._proc / "clear_refs").write_text("5")  # resets VmHWM; proc(5)
        self._before = self._bytes("VmRSS")

    def growth(self) -> int:
        return self._bytes("VmHWM") - self._before

    def _bytes(self, name: str) -> int:
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


async def _large() -> AsyncIterator[bytes]:
    yield b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--X\r\n'
    yield b'Content-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
    piece = os.urandom(MIB)
    for _ in range(LARGE // MIB):
        yield piece
    yield b"\r\n--X--\r\n"


async def test_a_large_file_costs_no_memory(served: Served, http: httpx.AsyncClient) -> None:
    peak = Peak(served.part)
    headers = {"content-type": "multipart/form-data; boundary=X"}
    answer = await http.post(FILES, content=_large(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["bytes"] == LARGE
    up = peak.growth()
    seen = 0
    async with http.stream("GET", f"{FILES}/{answer.json()['id']}/content") as content:
        async for chunk in content.aiter_raw():
            seen += len(chunk)
    assert seen == LARGE
    down = peak.growth()
    print(f"peak growth of the API: {up / MIB:.0f} MiB up, {down / MIB:.0f} MiB up and down")
    assert down < GROWTH
    await http.delete(f"{FILES}/{answer.json()['id']}")
