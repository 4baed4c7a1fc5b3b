"""The batches' sweep: ends those whose window is over, carries on those whose step was lost; any number may run."""

import asyncio

import structlog

from core.batches import sweep
from core.db.session import Database
from core.errors import Unavailable
from core.events.log import EventLog

log = structlog.get_logger(__name__)

EVERY_S = 1.0


async def sweep_loop(database: Database, events: EventLog, wake: asyncio.Event) -> None:
    """Look every second; wake the dispatcher for the steps that are made."""
    while True:
        async with database.begin() as session:
            ended = await sweep.expire(session)
        async with database.begin() as session:
            carried = await sweep.carry_on(session)
        if ended or carried:
            log.info("batches carried on", expired=ended, lost=carried)
            wake.set()
        try:
            if ended:
                await events.ring(*ended)
        except Unavailable:
            log.debug("readers will see it on their sweep")
        await asyncio.sleep(EVERY_S)
