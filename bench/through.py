"""The same prompts through the whole platform, from the first submit to the last end."""

import asyncio
import time
from typing import Any

import httpx
import psycopg

from tests.rig import Rig

OPEN = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
LAST = "SELECT extract(epoch FROM max(finished_at))::float8 FROM jobs"


async def drain(rig: Rig, key: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Submit all at once; no reader beside it, and the end is asked of Postgres, which costs little."""
    async with (
        rig.client(key, limits=httpx.Limits(max_connections=32)) as client,
        await psycopg.AsyncConnection.connect(
            rig.stack.env()["DATABASE_URL"], autocommit=True
        ) as truth,
    ):
        specs = [
            {"kind": "inference", "prompt": p, "temperature": 0, "max_tokens": wish["max_tokens"],
             "ignore_eos": True}
            for p in wish["prompts"]
        ]  # fmt: skip
        began = time.time()
        answers = await asyncio.gather(*(client.post("/v1/jobs", json=s) for s in specs))
        jobs = [a.raise_for_status().json()["id"] for a in answers]
        # Postgres has no event to await here, and a count of 256 rows is cheap.
        while (await (await truth.execute(OPEN)).fetchone() or (0,))[0]:  # noqa: ASYNC110 - see the line above
            await asyncio.sleep(0.05)
        ended = (await (await truth.execute(LAST)).fetchone() or (0.0,))[0]
        done = await asyncio.gather(*(client.get(f"/v1/jobs/{j}") for j in jobs))
        tokens = sum(d.json()["usage"]["completion_tokens"] for d in done)
        return {"tokens": tokens, "seconds": ended - began}
