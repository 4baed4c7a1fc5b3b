"""An SSE client on a bare socket: cheap enough for thousands, and rude enough to stop reading or to hang up."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

END = b"\r\n\r\n"


@dataclass
class Line:
    """An open answer to a GET. `headers` with lower-case names."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _rest: bytes = b""

    async def block(self) -> bytes:
        """The next SSE message or comment, without its empty line; b"" at the end of the stream."""
        while b"\n\n" not in self._rest:
            size = int(await self.reader.readline() or b"0", 16)
            if size == 0:
                return b""
            self._rest += (await self.reader.readexactly(size + 2))[:-2]
        block, _, self._rest = self._rest.partition(b"\n\n")
        return block

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Events as the server wrote them; comments are passed over."""
        while block := await self.block():
            fields = dict(
                line.split(": ", 1) for line in block.decode().split("\n") if line[0] != ":"
            )
            if "data" in fields:
                event = json.loads(fields["data"])
                assert fields["id"] == str(event["seq"])
                assert fields["event"] == event["type"]
                yield event

    async def body(self) -> Any:
        """The JSON of an answer that is no stream."""
        return json.loads(await self.reader.readexactly(int(self.headers["content-length"])))


async def get(
    port: int, path: str, key: str, *, last: int | str | None = None, buffer: int = 0
) -> Line:
    """Ask and read the head of the answer. `last`: Last-Event-ID; `buffer`: bytes the socket may hold."""
    reader, writer = await dial(port, path, key, last=last, buffer=buffer)
    head = (await reader.readuntil(END)).decode("latin-1")
    status, *lines = head.rstrip("\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Line(
        int(status.split(" ")[1]), {k.lower(): v for k, v in headers.items()}, reader, writer
    )


async def dial(
    port: int, path: str, key: str, *, last: int | str | None = None, buffer: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the request and read nothing."""
    bare = socket.socket()
    bare.setblocking(False)
    if buffer:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=bare, limit=buffer or 2**16)
    lines = [f"GET {path} HTTP/1.1", "host: penstock", f"authorization: Bearer {key}"]
    lines += [f"last-event-id: {last}"] if last is not None else []
    writer.write("\r\n".join(lines).encode() + END)
    return reader, writer


@asynccontextmanager
async def stream(port: int, job_id: str, key: str, **options: Any) -> AsyncIterator[Line]:
    """The stream of a job; hangs up without a word at the end of the block."""
    line = await get(port, f"/v1/jobs/{job_id}/stream", key, **options)
    try:
        yield line
    finally:
        line.writer.transport.abort()
