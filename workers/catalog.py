"""The catalog's sweep: what retired versions and failed jobs leave in the store goes; any number may run."""

import asyncio
from datetime import timedelta
from typing import NamedTuple

import structlog

from core.catalog import artifacts, sweep
from core.config import Settings
from core.db.session import Database
from core.storage.seam import Storage, batched

log = structlog.get_logger(__name__)

# Nothing waits for it: artefacts stay for days after the last use.
EVERY_S = 600.0


class Collected(NamedTuple):
    """Digests of the artefacts that are gone, how many bytes that were, and keys that no artefact claimed."""

    artifacts: list[str]
    bytes: int
    unclaimed: int


async def sweep_loop(database: Database, storage: Storage, settings: Settings) -> None:
    """Collect, for ever."""
    while True:
        gone = await collect(database, storage, settings)
        if gone.artifacts or gone.unclaimed:
            log.info("collected", **gone._asdict())
        await asyncio.sleep(EVERY_S)


async def collect(database: Database, storage: Storage, settings: Settings) -> Collected:
    """One turn. Rows first, then bytes: what is lost in between is unclaimed, and goes with a later turn."""
    async with database.begin() as session:
        await sweep.forget(session)
        await sweep.release(session, timedelta(days=settings.retired_keep_d))
    digests: list[str] = []
    size = 0
    while True:
        async with database.begin() as session:
            gone = await sweep.unreferenced(session)
        for artifact in gone:
            await storage.delete(*artifact.keys())
        digests += [artifact.digest for artifact in gone]
        size += sum(artifact.bytes for artifact in gone)
        if len(gone) < sweep.BATCH:
            break
    return Collected(digests, size, await reclaim(database, storage))


async def reclaim(database: Database, storage: Storage) -> int:
    """Delete bytes that no artefact has claimed for days. Returns of how many keys."""
    gone = 0
    async for batch in batched(storage.listed(artifacts.KEYS), sweep.BATCH):
        async with database.begin() as session:
            keys = await sweep.unclaimed(session, batch)
        if keys:
            await storage.delete(*keys)
        gone += len(keys)
    return gone
