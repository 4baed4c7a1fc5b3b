"""Figure 1: jobs a second that one API process accepts, over the same transactions without an API."""

import asyncio
import statistics

from bench.figure import Figure, child, ratio, spread
from core.catalog import models
from core.catalog.models import Served
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from tests.rig import Rig

CONCURRENCY = 32
BODY = {"kind": "inference", "prompt": "The river runs past the mill", "max_tokens": 40}
TARGET = 0.5


async def prepared(rig: Rig, tenant: str) -> tuple[str, str]:
    """A tenant with a key, and the model served, as a worker would have said. Returns (id, key)."""
    config = rig.settings()
    database = Database(config, name="bench", pool=1)
    async with database.begin() as session:
        row, key = await keys.create(session, tenant=tenant, name="bench")
        await models.register(session, Served(config.served_name, config.model, 2048))
    await database.close()
    return row.tenant_id, key


def measure(rig: Rig, *, rounds: int = 5, seconds: float = 4.0) -> Figure:
    """`rig` has its stack started, and nothing of ours but the API."""
    # Nobody takes these jobs: tens of thousands of one tenant wait in the end.
    rig.env |= {"PENSTOCK_QUEUE_LIMIT": "1000000", "PENSTOCK_QUEUE_LIMIT_PER_TENANT": "1000000"}
    rig.start("api")
    tenant, key = asyncio.run(prepared(rig, new_id("t")))
    dsn = rig.stack.env()["DATABASE_URL"]
    api: list[dict[str, float]] = []
    straight: list[dict[str, float]] = []
    both = {"seconds": seconds, "concurrency": CONCURRENCY, "body": BODY}
    # The first turn warms caches and connections and is not counted.
    for turn in range(rounds + 1):
        http = {"key": key, "port": rig.ports["api"], "mark": new_id("m")}
        api.append(child("bench.load", both | http, rig.environment))
        straight.append(
            child("bench.straight", both | {"dsn": dsn, "tenant": tenant}, rig.environment)
        )
        print(f"  {turn}: api {api[-1]['rate']:.0f}/s, straight {straight[-1]['rate']:.0f}/s")
    ours, theirs = [r["rate"] for r in api[1:]], [r["rate"] for r in straight[1:]]
    ratios = ratio(ours, theirs)
    middle = statistics.median(ratios)
    rows = [
        ("one API process over HTTP", spread(ours), spread([r["p50_ms"] for r in api[1:]], 1),
         spread([r["p99_ms"] for r in api[1:]], 1)),
        ("psycopg alone, a transaction a job", spread(theirs), "", ""),
        ("**ratio**", spread(ratios, 2), "", ""),
    ]  # fmt: skip
    return Figure(
        "accepted",
        "1. Accepted jobs",
        ("", "jobs/s", "p50 ms", "p99 ms"),
        rows,
        f"at least {TARGET:g} of the bare transactions; measured {middle:.2f}",
        middle >= TARGET,
        [
            (
                f"{CONCURRENCY} connections, {rounds} rounds of {seconds:g} s in turns; median, and "
                "the lowest and highest round. Every job has an idempotency key."
            ),
            (
                "The bare side is one Python process with as many psycopg connections, the API's own SQL "
                "(job, key, event, outbox, ledger), and a commit for each job. Load, server and database share "
                "the machine's cores in both."
            ),
        ],
        {"api": api, "straight": straight},
    )
