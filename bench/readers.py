"""Many SSE readers on bare sockets, as a child: READY when all are open, then one line with the delays."""

import asyncio
import json
import re
import resource
import sys
import time
from typing import Any

import uvloop

SAID = re.compile(rb'"said":(\d+\.\d+)')


async def reader(
    options: dict[str, Any],
    job: str,
    delays: list[float],
    door: asyncio.Semaphore,
    opened: asyncio.Event,
) -> None:
    async with door:
        source, sink = await asyncio.open_connection("127.0.0.1", options["port"])
        sink.write(
            f"GET /v1/jobs/{job}/stream HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {options['key']}\r\n\r\n".encode()
        )
        head = await source.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        # The stream itself begins: the reader is past its first events.
        await source.readuntil(b"job.started")
        opened.set()
    while line := await source.readline():
        if (found := SAID.search(line)) is not None:
            delays.append(time.time() - float(found[1]))
        elif b"event: job." in line:
            break
    sink.close()


async def main(options: dict[str, Any]) -> None:
    delays: list[float] = []
    # So many connect at once; a listener's backlog is not what is measured here.
    door = asyncio.Semaphore(64)
    jobs = [job for job in options["jobs"] for _ in range(options["each"])]
    opened = [asyncio.Event() for _ in jobs]
    pairs = zip(jobs, opened, strict=True)
    tasks = [asyncio.create_task(reader(options, j, delays, door, o)) for j, o in pairs]
    await asyncio.gather(*(one.wait() for one in opened))
    print("READY", flush=True)
    await asyncio.gather(*tasks)
    print(json.dumps({"delays_s": delays}), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main(json.loads(sys.argv[1])))
