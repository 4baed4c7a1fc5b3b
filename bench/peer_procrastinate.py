"""The peer with an equal guarantee: procrastinate's no-op tasks on the same Postgres.

Two roles: `worker` runs them, `send` defers them at the concurrency our own load submits with.
"""

import asyncio
import json
import sys
import time
from typing import Any

from procrastinate import App, PsycopgConnector

TABLE = "procrastinate_jobs"


def make(dsn: str, pool: int) -> App:
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=pool))

    @app.task(name="noop")  # type: ignore[untyped-decorator, unused-ignore]
    async def noop(number: int) -> None:
        """No work: what is measured is the queue."""

    return app


async def worker(options: dict[str, Any]) -> None:
    app = make(options["dsn"], options["slots"])
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        print("READY", flush=True)
        await app.run_worker_async(concurrency=options["slots"], wait=True)


async def send(options: dict[str, Any]) -> None:
    """Prints when it began, and what CPU it took."""
    app = make(options["dsn"], options["concurrency"])
    numbers = iter(range(options["count"]))

    async def one() -> None:
        for number in numbers:
            await app.configure_task("noop").defer_async(number=number)

    async with app.open_async():
        began, cpu = time.time(), time.process_time()
        await asyncio.gather(*(one() for _ in range(options["concurrency"])))
    print(json.dumps({"began": began, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    asyncio.run({"worker": worker, "send": send}[settings["role"]](settings))
