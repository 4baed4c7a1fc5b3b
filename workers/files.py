"""The files' sweep: deletes what expired, what was abandoned, and bytes that no row names; any number may run."""

import asyncio
import itertools
import time

import structlog

from core.config import Settings
from core.db.session import Database
from core.files import service, sweep, uploads
from core.storage.seam import Storage, batched

log = structlog.get_logger(__name__)

# Every key of the store is looked at, so not with every turn.
UNCLAIMED_EVERY_S = 3600.0


async def sweep_loop(database: Database, storage: Storage, settings: Settings) -> None:
    """Look every `files_sweep_every_s`, and once an hour through the whole store."""
    walked = None
    while True:
        more = await expire(database, storage)
        if walked is None or time.monotonic() - walked > UNCLAIMED_EVERY_S:
            await reclaim(database, storage)
            walked = time.monotonic()
        if not more:
            await asyncio.sleep(settings.files_sweep_every_s)


async def expire(database: Database, storage: Storage) -> bool:
    """Rows first, then bytes: what is lost in between is unclaimed. Returns whether there may be more."""
    async with database.begin() as session:
        files = await sweep.expired_files(session)
        parts = await sweep.abandoned_uploads(session)
    for key in itertools.chain(files, parts):
        await storage.delete(key)
    if files or parts:
        log.info("expired", files=len(files), parts=len(parts))
    return len(files) >= sweep.BATCH


async def reclaim(database: Database, storage: Storage) -> int:
    """Delete bytes that have had no row for an hour. Returns of how many keys."""
    await storage.tidy()
    gone = 0
    for prefix in (service.KEYS, uploads.KEYS):
        async for batch in batched(storage.listed(prefix), sweep.BATCH):
            async with database.begin() as session:
                keys = await sweep.unclaimed(session, batch)
            for key in keys:
                await storage.delete(key)
            gone += len(keys)
    if gone:
        log.info("bytes without a row deleted", keys=gone)
    return gone
