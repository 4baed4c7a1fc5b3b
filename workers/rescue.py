"""The rescuer: takes jobs from dead workers and run-out leases, expires late ones; any number may run."""

import asyncio
import time

import structlog
from sqlalchemy import text

from core import telemetry
from core.config import Settings
from core.db.session import Database
from core.errors import Unavailable
from core.events.log import EventLog
from core.jobs import rescue, ringing

log = structlog.get_logger(__name__)

# After a restart of Postgres every lock is free for a moment; workers take theirs again within seconds.
SETTLE_S = 10.0


async def rescue_loop(
    database: Database, events: EventLog, wake: asyncio.Event, settings: Settings
) -> None:
    """Look every `rescue_every_s`; wake the dispatcher when something can be run again."""
    free_since: dict[str, float] = {}
    mourned: set[str] = set()
    while True:
        dead = await _dead(database, free_since, settings)
        fresh, mourned = set(dead) - mourned, set(dead)
        async with database.begin() as session:
            rescued = await rescue.rescue(
                session, events, dead_workers=dead, max_attempts=settings.max_attempts
            )
            expired = await rescue.expire_queued(session)
            unrung = await ringing.unring_with(session, fresh) if fresh else 0
        for one in rescued:
            log.warning("rescued", job=one.id, state=one.state, reason=one.reason)
            telemetry.JOBS_REQUEUED.labels(one.kind, one.reason).inc()
        if rescued or unrung:
            wake.set()
        try:
            if rescued or expired:
                await events.ring(*(one.id for one in rescued), *expired)
        except Unavailable:
            log.debug("readers will see it on their sweep")
        if len(rescued) < 200:
            await asyncio.sleep(settings.rescue_every_s)


async def _dead(database: Database, free_since: dict[str, float], settings: Settings) -> list[str]:
    """Workers whose lock has been free for the grace time, as this process saw it."""
    async with database.begin() as session:
        free = await rescue.unlocked_workers(session, SETTLE_S)
        now = time.monotonic()
        for worker in list(free_since.keys() - free):
            del free_since[worker]
        for worker in free:
            free_since.setdefault(worker, now)
        dead = [w for w, since in free_since.items() if now - since >= settings.lock_grace_s]
        if dead:
            await rescue.forget_workers(session, dead)
    return dead


async def tidy(database: Database, settings: Settings) -> None:
    """Forget idempotency keys that are past their time."""
    while True:
        async with database.begin() as session:
            await session.execute(
                text(
                    "DELETE FROM idempotency_keys"
                    " WHERE created_at < now() - make_interval(hours => :hours)"
                ),
                {"hours": int(settings.idempotency_ttl_h)},
            )
        await asyncio.sleep(600)
