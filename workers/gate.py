"""The gate's sweep: what may not be asked any more is withdrawn within a second or two; any number may run."""

import asyncio

import structlog
from prometheus_client import Counter

from core.catalog import withdrawals
from core.db.session import Database

log = structlog.get_logger(__name__)

EVERY_S = 1.0
WITHDRAWN = Counter(
    "penstock_models_withdrawn_total", "Models that the gate took out of use.", ["door"]
)


async def sweep_loop(database: Database) -> None:
    """Look, for ever."""
    while True:
        await sweep(database)
        await asyncio.sleep(EVERY_S)


async def sweep(database: Database) -> list[withdrawals.Withdrawn]:
    """One turn. A tenant whose models cannot be looked at keeps nobody else's."""
    async with database.single() as session:
        tenants = await withdrawals.due(session)
    gone: list[withdrawals.Withdrawn] = []
    for tenant_id in tenants:
        try:
            async with database.begin() as session:
                done = await withdrawals.sweep(session, tenant_id)
        except Exception:
            log.exception("the gate could not look; again soon", tenant=tenant_id)
            continue
        for one in done:
            WITHDRAWN.labels(one.door.partition(":")[0]).inc()
            log.warning("withdrawn", tenant=tenant_id, **one._asdict())
        gone += done
    return gone
