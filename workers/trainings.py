"""The trainings' sweep: deletes checkpoints that nobody will go on from; any number may run."""

import asyncio
import time

import structlog

from core.config import Settings
from core.db.session import Database
from core.storage.seam import Storage, batched
from core.training import sweep

log = structlog.get_logger(__name__)

# Every key of the store's checkpoints is looked at, so not with every turn.
UNCLAIMED_EVERY_S = 3600.0


async def sweep_loop(database: Database, storage: Storage, settings: Settings) -> None:
    """Look every `files_sweep_every_s`, and once an hour through all that is there."""
    walked = None
    while True:
        more = await expire(database, storage, settings.checkpoints_keep_h * 3600)
        if walked is None or time.monotonic() - walked > UNCLAIMED_EVERY_S:
            await reclaim(database, storage)
            walked = time.monotonic()
        if not more:
            await asyncio.sleep(settings.files_sweep_every_s)


async def expire(database: Database, storage: Storage, after_s: float) -> bool:
    """Rows first, then bytes: what is lost in between is unclaimed. Returns whether there may be more."""
    async with database.begin() as session:
        keys = await sweep.over(session, after_s)
    await storage.delete(*keys)
    if keys:
        log.info("checkpoints of ended trainings deleted", keys=len(keys))
    return bool(keys)


async def reclaim(database: Database, storage: Storage) -> int:
    """Delete bytes that have had no row for a day. Returns of how many keys."""
    gone = 0
    async for batch in batched(storage.listed(sweep.KEYS), sweep.BATCH):
        async with database.begin() as session:
            keys = await sweep.unclaimed(session, batch)
        await storage.delete(*keys)
        gone += len(keys)
    return gone
