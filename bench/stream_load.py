"""Clients that submit a job, open its stream and time the first output.delta; bare sockets, kept alive."""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from bench.prompts import prompts


class Link:
    """One keep-alive connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str):
        self.reader, self.writer = reader, writer
        self.head = f" HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"

    def ask(self, line: str, body: bytes = b"") -> None:
        kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{line}{self.head}{kind}\r\n".encode() + body)

    async def answer(self, status: bytes) -> bytes:
        """The head; raises RuntimeError when it is not `status`."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 " + status):
            raise RuntimeError(f"asked for {status!r}: {head!r}")
        return head

    async def submit(self, spec: dict[str, Any]) -> str:
        self.ask("POST /v1/jobs", json.dumps(spec).encode())
        head = await self.answer(b"202")
        _, _, after = head.lower().partition(b"content-length:")
        body = await self.reader.readexactly(int(after.partition(b"\r\n")[0]))
        return str(json.loads(body)["id"])

    async def stream(self, job_id: str) -> tuple[float, float]:
        """When the first text came, and when the job's last event did."""
        self.ask(f"GET /v1/jobs/{job_id}/stream")
        await self.answer(b"200")
        first, seen = 0.0, b""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            seen = seen[-20:] + (await self.reader.readexactly(size + 2))[:-2]
            if not first and b"event: output.delta" in seen:
                first = time.perf_counter()
            if size == 0:
                return first, time.perf_counter()


async def run(options: dict[str, Any]) -> dict[str, Any]:
    port, key = options["port"], options["key"]
    left = iter(prompts(options["count"], f"{options['mark']} {options['concurrency']} "))
    found: list[float] = []

    async def client() -> None:
        links = [Link(*await asyncio.open_connection("127.0.0.1", port), key) for _ in range(2)]
        for prompt in left:
            spec = {
                "kind": "inference",
                "prompt": prompt,
                "max_tokens": options["max_tokens"],
                # Greedy, as the bare engine: choosing among the top k is the engine's work, not ours.
                "temperature": 0,
            }
            began = time.perf_counter()
            first, _ = await links[1].stream(await links[0].submit(spec))
            found.append((first - began) * 1000)
        for link in links:
            link.writer.close()

    await asyncio.gather(*(client() for _ in range(options["concurrency"])))
    return {"first": found}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))))
