"""The limit of figure 1: the API's own statements, one transaction a job, from psycopg and nothing else."""

import asyncio
import hashlib
import json
import sys
import time
from typing import Any

import psycopg
import uvloop
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from core.events import outbox
from core.ids import new_id
from core.ledger.entries import reserve

KEY = """INSERT INTO idempotency_keys (tenant_id, key, fingerprint, job_id)
         VALUES (%(tenant)s, %(key)s, %(mark)s, %(id)s) ON CONFLICT DO NOTHING RETURNING job_id"""

# One job a statement, with its fact, deliveries, outbox row and reservation: what the API's statement does for many.
SUBMIT = outbox.recorded(
    f"""INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, spec, metadata, deadline)
        VALUES (:id, :tenant, :kind, :model, :priority, :rank, :queue, cast(:spec AS jsonb),
                cast(:labels AS jsonb), now() + make_interval(secs => :window))
        RETURNING {outbox.FACT}, created_at, available_at, deadline, key_id, model, reserved_tokens,
                  'job.queued' AS fact_type, jsonb_build_object('queue', queue) AS fact_data""",
    reserve(
        "(VALUES (cast(:id AS text), 6, cast(NULL AS numeric), cast(:model AS text)))"
        " AS w(id, asked, cap, priced)"
    ),
)


def plain(statement: TextClause) -> str:
    """The statement as psycopg takes it."""
    return str(statement.compile(dialect=PGDialect_psycopg()))  # type: ignore[no-untyped-call, unused-ignore]


async def run(options: dict[str, Any]) -> dict[str, float]:
    submit = plain(SUBMIT)
    until = time.perf_counter() + options["seconds"]
    spec = json.dumps(options["body"])
    made = 0

    async def one() -> None:
        nonlocal made
        async with await psycopg.AsyncConnection.connect(
            options["dsn"], autocommit=True, prepare_threshold=2
        ) as connection:
            while time.perf_counter() < until:
                job = new_id("job")
                mark = hashlib.sha256(spec.encode()).digest()
                values = {
                    "id": job, "tenant": options["tenant"], "kind": "inference", "model": "straight",
                    "priority": "interactive", "rank": 0, "queue": "straight", "spec": spec,
                    "labels": "{}", "window": None, "key": job, "mark": mark,
                }  # fmt: skip
                async with connection.transaction():
                    await connection.execute(KEY, values)
                    await (await connection.execute(submit, values)).fetchone()
                made += 1

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(options["concurrency"])))
    seconds = time.perf_counter() - began
    return {"jobs": made, "seconds": seconds, "rate": made / seconds}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))))
