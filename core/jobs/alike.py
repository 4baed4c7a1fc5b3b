"""The semantic cache: vectors of what was asked, and the finished jobs that answered it, in Postgres by pgvector.

Each search is exact, among one tenant's entries of one context; no approximate index, whose recall would
be one more thing to doubt. Only jobs that succeeded are found: an entry is written when its job is accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncSession

from core.jobs import guard
from core.jobs.hits import Hit

# A row's head, ids, digest and index entries.
OVERHEAD = 400


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: only what has the same tenant and context is compared."""

    tenant: str
    context: str


# The table is there where the server has pgvector (migrations/vectors.py).
_THERE = sql("SELECT to_regclass('cache_vectors') IS NOT NULL")
_NEAREST = sql(
    """SELECT j.id, j.spec, j.result, j.usage, j.guard, 1 - (v.vector <=> cast(:vector AS vector)) AS similarity
       FROM cache_vectors v JOIN jobs j ON j.id = v.job_id AND j.tenant_id = v.tenant_id
       WHERE v.tenant_id = :tenant AND v.context = :context AND v.expires_at > now()
         AND j.state = 'succeeded' AND v.vector <=> cast(:vector AS vector) <= :far
       ORDER BY v.vector <=> cast(:vector AS vector), v.id DESC LIMIT 8"""
)
_KEEP = sql(
    """INSERT INTO cache_vectors (tenant_id, context, job_id, vector, expires_at)
       VALUES (:tenant, :context, :job, cast(:vector AS vector), now() + make_interval(secs => :ttl))"""
)
_BOUND = sql(
    """DELETE FROM cache_vectors WHERE expires_at <= now()
       OR id <= (SELECT id FROM cache_vectors ORDER BY id DESC OFFSET :rows LIMIT 1)"""
)
_PURGE = sql("DELETE FROM cache_vectors WHERE tenant_id = :tenant")


def _literal(vector: Sequence[float]) -> str:
    return "[" + ",".join(map(repr, vector)) + "]"


async def there(session: AsyncSession) -> bool:
    """Whether this database can search vectors."""
    return bool(await session.scalar(_THERE))


async def nearest(
    session: AsyncSession, place: Place, text: str, vector: Sequence[float], threshold: float
) -> Hit | None:
    """The job whose text is most alike, if it is at least `threshold` and the guard lets it pass."""
    where = {"tenant": place.tenant, "context": place.context, "vector": _literal(vector)}
    # pgvector reckons in single precision: a text at the threshold itself must not fall to rounding.
    for row in await session.execute(_NEAREST, where | {"far": 1 - threshold + 1e-6}):
        if not guard.differs(text, _said(row.spec)):
            similarity = min(float(row.similarity), 1.0)
            return Hit("semantic", row.id, row.result, row.usage or {}, similarity, row.guard or "")
    return None


def _said(spec: dict[str, Any]) -> str:
    """The last user text of a recorded spec."""
    return str(spec["messages"][-1]["content"] if spec.get("messages") else spec["prompt"])


async def keep(
    session: AsyncSession, place: Place, vector: Sequence[float], job_id: str, ttl_s: float
) -> None:
    """Have this job found by texts alike, once it has succeeded."""
    row = {"tenant": place.tenant, "context": place.context, "vector": _literal(vector)}
    await session.execute(_KEEP, row | {"job": job_id, "ttl": ttl_s})


async def bound(session: AsyncSession, max_bytes: int, dimensions: int) -> None:
    """Forget what is out of date, and the oldest beyond the bound."""
    rows = max_bytes // (4 * dimensions + OVERHEAD)
    await session.execute(_BOUND, {"rows": rows})


async def purge(session: AsyncSession, tenant: str) -> None:
    if await there(session):
        await session.execute(_PURGE, {"tenant": tenant})
