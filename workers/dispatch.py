"""The dispatcher: Kafka (or a poke, or the clock) wakes it, Postgres decides, Celery carries the doorbell."""

import asyncio
import contextlib
import math

import structlog

from core import telemetry
from core.config import Settings
from core.db.session import Database
from core.errors import Unavailable
from core.events.bus import Subscription
from core.jobs import ringing, shares
from workers.app import Bell

log = structlog.get_logger(__name__)

# A look costs about 2 ms of CPU here and in Postgres, and finds up to twice the free slots.
BREATH_S = 0.01
# Where a look takes longer than this, with a thousand tenants waiting, half of the time is left to others.
SLOW_S = 0.05


async def dispatch(database: Database, bell: Bell, wake: asyncio.Event, settings: Settings) -> None:
    """Ring for queued jobs whenever woken, and every sweep in any case."""
    loop = asyncio.get_running_loop()
    looked = swept = -math.inf
    took = 0.0
    suspect = ringing.suspect_after(settings.max_attempts)
    while True:
        # The first wake is answered at once; those of a busy time share their looks.
        await asyncio.sleep(looked + (BREATH_S if took < SLOW_S else 2 * took) - loop.time())
        wake.clear()
        looked = loop.time()
        # By the clock and not when nothing wakes us: lost doorbells fill the window of a busy queue.
        if looked - swept >= settings.sweep_every_s:
            swept = looked
            await again(database, bell, settings.ring_again_s)
        if await once(database, bell, suspect) is None:
            wake.set()
        took = loop.time() - looked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.sweep_every_s):
                await wake.wait()


async def once(database: Database, bell: Bell, suspect: int) -> int | None:
    """One decision; how many jobs were rung for. None: another dispatcher decided, for some queue."""
    async with database.single() as session:
        chosen = await ringing.choose(session, suspect)
    rung = sum(len(jobs) for _, jobs in chosen.doorbells)
    if rung:
        # After the commit: a worker that answers at once must find the job. A crash in between loses
        # doorbells, not jobs: they are rung again.
        try:
            await bell.ring(chosen.doorbells)
        except Unavailable as error:
            log.warning("doorbells not sent; they will be rung again", error=str(error))
            return 0
        for queue, jobs in chosen.doorbells:
            telemetry.RUNG.labels(queue).inc(len(jobs))
    return None if chosen.again else rung


async def again(database: Database, bell: Bell, after_s: float) -> None:
    """Ring again where doorbells were lost, not where they only wait for a slot.

    Without that difference a queue of long jobs would be rung anew every few seconds, for hours.
    """
    async with database.begin() as session:
        out = await ringing.unanswered(session, after_s)
    if not out:
        return
    try:
        waiting = await bell.waiting(list(out))
    except Unavailable:
        waiting = {}
    for queue, rung in out.items():
        if waiting.get(queue, 0) < rung:
            async with database.begin() as session:
                lost = await ringing.unring(session, queue, after_s)
            log.info("doorbells unanswered; ringing again", queue=queue, jobs=lost)


async def announcements(subscription: Subscription, wake: asyncio.Event) -> None:
    """Wake the dispatcher for what Kafka announces; commit after it had its chance."""
    while True:
        if await subscription.poll(1.0):
            wake.set()
            await subscription.commit()


async def gauge(database: Database) -> None:
    """Count the queues for the metrics, and learn what tenants' jobs take, now and then."""
    known: set[str] = set()
    while True:
        async with database.begin() as session:
            depths = await ringing.depths(session)
            await shares.learn(session)
        for queue in known | depths.keys():
            telemetry.QUEUE_DEPTH.labels(queue).set(depths.get(queue, 0))
        known |= depths.keys()
        await asyncio.sleep(5)
