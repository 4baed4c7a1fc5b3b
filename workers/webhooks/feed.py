"""The feeder: Kafka's events wake it, Postgres says what is due, doorbells go to the queue.

Kafka is only the first bell. A sweep every second finds what no record announced: retries, replays,
and everything while Kafka is away.
"""

import asyncio
from collections.abc import Awaitable, Callable

from core.db.session import Database
from core.errors import Unavailable
from core.events.bus import Subscription
from core.forever import stopped
from core.webhooks import tries
from workers.webhooks import metrics

SWEEP_S = 1.0
# After a round that rang something, more may be due at once: endpoints get few doorbells at a time.
BUSY_S = 0.1
GAUGE_S = 10.0
TIDY_S = 60.0

Ring = Callable[[list[str]], Awaitable[None]]


async def feed(
    db: Database,
    consumer: Subscription,
    ring: Ring,
    stop: asyncio.Event,
    *,
    per_endpoint: int = 4,
) -> None:
    """Run until `stop`. Raises when Postgres or the queue is away, and is then run again.

    `ring` sends delivery ids to the queue and raises Unavailable. `per_endpoint` is how many
    doorbells an endpoint may have out: PENSTOCK_WEBHOOK_PER_ENDPOINT.
    """
    bell = asyncio.Event()
    heard: list[asyncio.Future[None]] = []
    listening = asyncio.create_task(_listen(consumer, bell, heard), name="webhook listener")
    upkeep = asyncio.create_task(_upkeep(db), name="webhook upkeep")
    try:
        while not stop.is_set():
            bell.clear()
            answered, heard[:] = heard[:], []
            rang = await once(db, ring, per_endpoint=per_endpoint)
            for record in answered:
                record.set_result(None)
            _raise_if_ended(listening, upkeep)
            await _rest(bell, stop, BUSY_S if rang else SWEEP_S)
    finally:
        await stopped({listening, upkeep})


async def once(db: Database, ring: Ring, *, per_endpoint: int) -> int:
    """Ring what is due; returns how many. Raises Unavailable, and then none is marked as rung."""
    async with db.begin() as session:
        ids = await tries.ring(session, per_endpoint=per_endpoint)
    if not ids:
        return 0
    try:
        await ring(ids)
    except Unavailable:
        async with db.begin() as session:
            await tries.unring(session, ids)
        raise
    return len(ids)


async def _listen(
    consumer: Subscription, bell: asyncio.Event, heard: list[asyncio.Future[None]]
) -> None:
    """Wake the sweep for every record, and commit once a whole sweep has followed it."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        if await consumer.poll(SWEEP_S):
            done = loop.create_future()
            heard.append(done)
            bell.set()
            await done
            await consumer.commit()
        elif loop.time() - began < SWEEP_S / 2:
            # The broker is away and answers "nothing" at once: the sweep does without it.
            await asyncio.sleep(SWEEP_S)


async def _upkeep(db: Database) -> None:
    loop = asyncio.get_running_loop()
    tidied = loop.time()
    while True:
        async with db.begin() as session:
            metrics.PENDING.set(await tries.pending(session))
        if loop.time() - tidied >= TIDY_S:
            tidied = loop.time()
            async with db.begin() as session:
                await tries.tidy(session)
        await asyncio.sleep(GAUGE_S)


def _raise_if_ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def _rest(bell: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.create_task(bell.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
