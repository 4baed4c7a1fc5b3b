"""What a running audit writes on its row: the plan, then the verdict. A stale attempt changes nothing."""

from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from core.gate.tables import Audit

_MINE = """FROM jobs j WHERE a.job_id = :job AND j.id = a.job_id AND j.attempt = :attempt
           AND j.state = 'running' RETURNING a.job_id"""
_PLAN = text(
    f"UPDATE audits a SET plan = :plan, suites = :suites {_MINE}"  # noqa: S608 - a constant
).bindparams(bindparam("plan", type_=JSONB), bindparam("suites", type_=JSONB))
_JUDGE = text(
    f"UPDATE audits a SET verdict = :verdict, findings = :findings {_MINE}"  # noqa: S608 - a constant
).bindparams(bindparam("findings", type_=JSONB))


async def of_job(session: AsyncSession, job_id: str) -> Audit:
    """The row that was made with the job."""
    return (await session.scalars(select(Audit).where(Audit.job_id == job_id))).one()


async def plan(
    session: AsyncSession,
    job: tuple[str, int],
    found: dict[str, Any],
    suites: list[dict[str, Any]],
) -> bool:
    """`job`: its id and attempt; `suites`: as they are once fitted. False: it is another attempt's by now."""
    asked = {"job": job[0], "attempt": job[1], "plan": found, "suites": suites}
    return (await session.execute(_PLAN, asked)).one_or_none() is not None


async def judge(session: AsyncSession, job: tuple[str, int], findings: dict[str, Any]) -> bool:
    """Written before the job succeeds, and evidence only from then on (core/audits/publishing.py)."""
    asked = {
        "job": job[0], "attempt": job[1], "verdict": findings["verdict"], "findings": findings,
    }  # fmt: skip
    return (await session.execute(_JUDGE, asked)).one_or_none() is not None
