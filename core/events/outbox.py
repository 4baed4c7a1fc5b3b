"""The outbox: a move of a job and everything that tells of it, in one statement.

A move that commits has its numbered event, its webhook deliveries and its outbox row; one that does
not commit has none of them. The relay carries outbox rows to Kafka and deletes them (workers/relay.py).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, TextClause, bindparam, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Outgoing(Base):
    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str]
    job_id: Mapped[str]
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


# The columns that every move returns, and that the record is made from.
FACT = "id, tenant_id, kind, state, attempt, seq"

_RECORD = """
WITH moved AS ({move}),
fact AS (
    INSERT INTO job_events (job_id, seq, type, attempt, at, data)
    SELECT id, seq, fact_type, attempt, now(), fact_data FROM moved
), told AS (
    -- The steps of a batch are ours to know; its client hears of the batch.
    SELECT id, tenant_id, fact_type, 'evt_' || substr(id, 5) || '_' || seq AS event_id,
           jsonb_build_object('id', id, 'seq', seq, 'state', state, 'attempt', attempt) AS data
    FROM moved WHERE kind <> 'batch'
    UNION ALL
    SELECT m.id, m.tenant_id, 'response.' || CASE
               WHEN m.state = 'cancelled' THEN 'cancelled'
               WHEN m.state <> 'succeeded' THEN 'failed'
               WHEN coalesce(m.fact_data #>> '{{result,choices,0,finish_reason}}',
                             m.fact_data #>> '{{result,finish_reason}}')
                   IN ('length', 'content_filter') THEN 'incomplete'
               ELSE 'completed' END,
           'evt_' || substr(m.id, 5) || '_' || m.seq || '_response',
           jsonb_build_object('id', 'resp_' || substr(m.id, 5))
    FROM moved m JOIN responses r ON r.job_id = m.id
    WHERE m.state IN ('succeeded', 'failed', 'cancelled', 'expired')
    UNION ALL
    -- OpenAI's clients know of no expired one.
    SELECT id, tenant_id,
           'fine_tuning.job.' || CASE WHEN state = 'expired' THEN 'failed' ELSE state END,
           'evt_' || substr(id, 5) || '_' || seq || '_finetune',
           jsonb_build_object('id', 'ftjob-' || substr(id, 5))
    FROM moved WHERE kind = 'finetune' AND state IN ('succeeded', 'failed', 'cancelled', 'expired')
    UNION ALL
    SELECT m.id, m.tenant_id, 'eval.run.' || CASE m.state WHEN 'succeeded' THEN 'succeeded'
               WHEN 'cancelled' THEN 'canceled' ELSE 'failed' END,
           'evt_' || substr(m.id, 5) || '_' || m.seq || '_eval',
           jsonb_build_object('id', 'evalrun_' || substr(m.id, 5))
    FROM moved m JOIN eval_runs r ON r.job_id = m.id
    WHERE m.state IN ('succeeded', 'failed', 'cancelled', 'expired')
), notice AS (
    INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, body)
    SELECT 'wd_' || replace(gen_random_uuid()::text, '-', ''), t.tenant_id, e.id, t.event_id,
           t.fact_type, jsonb_build_object(
               'id', t.event_id, 'object', 'event', 'type', t.fact_type,
               'created_at', floor(extract(epoch FROM now()))::bigint,
               'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'data', t.data)::text
    FROM told t JOIN webhook_endpoints e
      ON e.tenant_id = t.tenant_id AND e.enabled AND t.fact_type = ANY (e.event_types)
), outgoing AS (
    INSERT INTO outbox (type, job_id, payload)
    SELECT fact_type, id, jsonb_build_object(
        'event_id', 'evt_' || substr(id, 5) || '_' || seq, 'kind', kind, 'tenant', tenant_id,
        'state', state, 'attempt', attempt, 'seq', seq)
    FROM moved
){also}
SELECT moved.*, now() AS at FROM moved
"""


def recorded(move: str, also: str = "") -> TextClause:
    """SQL that makes `move` and records it.

    `move` is one INSERT or UPDATE of jobs whose RETURNING names FACT, `fact_type` and `fact_data`
    (jsonb), and may name more for its caller. Every row it returns is recorded; no row, no record.
    The rows come back with `at`, the time of the record. `also`: what else this move does, as further
    queries of the WITH, each begun by a comma (core/ledger/entries.py); they read `moved`.
    """
    return text(_RECORD.format(move=move, also=also))


_TELL = text(
    """WITH notice AS (
           INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, body)
           SELECT 'wd_' || replace(gen_random_uuid()::text, '-', ''), :tenant, e.id, :event_id, :type,
                  jsonb_build_object(
                      'id', cast(:event_id AS text), 'object', 'event', 'type', cast(:type AS text),
                      'created_at', floor(extract(epoch FROM now()))::bigint,
                      'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                      'data', jsonb_build_object('id', cast(:subject AS text)))::text
           FROM webhook_endpoints e
           WHERE e.tenant_id = :tenant AND e.enabled AND :type = ANY (e.event_types))
       INSERT INTO outbox (type, job_id, payload)
       VALUES (:type, :subject, jsonb_build_object(
           'event_id', cast(:event_id AS text), 'kind', cast(:kind AS text),
           'tenant', cast(:tenant AS text), 'state', cast(:state AS text), 'attempt', 0, 'seq', 0))"""
).bindparams(
    *(bindparam(n, type_=Text) for n in ("tenant", "event_id", "type", "subject", "kind", "state"))
)


async def tell(
    session: AsyncSession, tenant_id: str, *, kind: str, subject: str, state: str, mark: str = ""
) -> None:
    """Record the fact `kind.state` of something that is no job, in the transaction that makes it true.

    `mark`: tells one time from another, where it may become true more than once.
    """
    event_id = f"evt_{subject}_{state}" + (f"_{mark}" if mark else "")
    fact = {"type": f"{kind}.{state}", "event_id": event_id}
    await session.execute(
        _TELL, {"tenant": tenant_id, "subject": subject, "kind": kind, "state": state, **fact}
    )
