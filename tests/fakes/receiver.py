"""A real HTTP server on loopback that records what it is sent and misbehaves on request."""

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.waiting import PATIENCE_S

Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """`headers` with lower-case names; `body` the raw bytes."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers 200, unless `replies` holds something else for the next request, or `always` does."""

    url: str
    port: int
    replies: deque[Behave] = field(default_factory=deque)
    always: Behave | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    serving: dict["asyncio.Task[None]", asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """The webhook-id of each request so far."""
        return [request.headers["webhook-id"] for request in self.requests]

    async def until(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait until `count` requests have come."""
        async with asyncio.timeout(timeout_s), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving[task] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.rstrip("\r\n").split("\r\n")
            pairs = [one.split(": ", 1) for one in lines]
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            async with self.arrived:
                self.requests.append(Request(line, headers, body))
                self.arrived.notify_all()
            behave = self.replies.popleft() if self.replies else self.always or reply(200)
            await behave(writer)
            await writer.drain()
        with suppress(ConnectionError, ssl.SSLError):
            writer.close()
            await writer.wait_closed()
        self.serving.pop(task)

    def hang(self) -> Behave:
        """Answers nothing until `released` is set, then 200."""

        async def behave(writer: asyncio.StreamWriter) -> None:
            await self.released.wait()
            await reply(200)(writer)

        return behave


def reply(status: int, body: bytes = b"ok", **headers: str) -> Behave:
    """A plain answer; `retry_after="3"` becomes the header retry-after."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return behave


def drip(every_s: float = 0.02) -> Behave:
    """200 at once, then a byte now and then, for ever."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(every_s)  # the misbehaviour itself, not a wait for anything

    return behave


def flood(status: int = 200) -> Behave:
    """As many bytes as the other side will take."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} OK\r\nconnection: close\r\n\r\n".encode())
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    return behave


def reset() -> Behave:
    """Cuts the connection with a TCP reset."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


def garbage() -> Behave:
    """Something that is not HTTP."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01\x02 not http\r\n\r\n")

    return behave


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port of 127.0.0.1, until the block ends."""
    made = Receiver("", 0)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{made.port}/hooks"
    try:
        yield made
    finally:
        made.released.set()
        server.close()
        left = dict(made.serving)
        for writer in left.values():
            writer.transport.abort()
        await asyncio.gather(*left, return_exceptions=True)
        await server.wait_closed()
