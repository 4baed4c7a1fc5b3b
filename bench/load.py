"""The load: `concurrency` keep-alive connections that submit jobs, in a process of their own.

Bare sockets: httpx costs more CPU a request than the API does, and would be what is measured.
"""

import asyncio
import json
import sys
import time
from typing import Any, cast

import uvloop

from bench.figure import quantile


class Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own class: not asyncio's, of the same shape.
        self.transport = cast("asyncio.Transport", transport)
        self.next()

    def next(self) -> None:
        request = self.load.request()
        if request is None:
            self.transport.close()
            self.load.leave()
            return
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, after = head.lower().partition(b"content-length:")
        if len(rest) < int(after.partition(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self.load.done.set_exception(RuntimeError(f"not accepted: {self.buffer[:400]!r}"))
            return
        self.buffer = b""
        self.load.took.append(time.perf_counter() - self.sent)
        self.next()


class Load:
    """Hands out requests until `count` were sent or `seconds` are over."""

    def __init__(self, options: dict[str, Any]) -> None:
        body = json.dumps(options["body"]).encode()
        self.head = (
            f"POST /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {options['key']}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        ).encode()
        self.body = body
        self.mark = options["mark"]
        self.left = options.get("count") or sys.maxsize
        self.until = time.perf_counter() + (options.get("seconds") or 3600.0)
        self.open = options["concurrency"]
        self.sent = 0
        self.took: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def request(self) -> bytes | None:
        if self.sent >= self.left or time.perf_counter() >= self.until:
            return None
        self.sent += 1
        key = f"idempotency-key: {self.mark}-{self.sent}\r\n\r\n".encode()
        return self.head + key + self.body

    def leave(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


async def run(options: dict[str, Any]) -> dict[str, float]:
    """Raises RuntimeError with the answer when a job was not accepted."""
    load = Load(options)
    began, at = time.perf_counter(), time.time()
    loop = asyncio.get_running_loop()
    for _ in range(options["concurrency"]):
        await loop.create_connection(lambda: Client(load), "127.0.0.1", options["port"])
    await load.done
    seconds = time.perf_counter() - began
    return {
        "began": at,
        "jobs": len(load.took),
        "seconds": seconds,
        "rate": len(load.took) / seconds,
        "p50_ms": quantile(load.took, 0.5) * 1000,
        "p99_ms": quantile(load.took, 0.99) * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))))
