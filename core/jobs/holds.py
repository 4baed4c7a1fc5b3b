"""Pause and resume: a paused job is a queued one that is not to be had until it is resumed.

A running job is asked to: its attempt saves where it is and gives the job back, and the statement that takes it back
(core/jobs/attempts.py) sees the wish. So does a rescuer's: a worker that dies meanwhile changes nothing.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict
from core.events import outbox
from core.jobs import service
from core.jobs.job import FAR, TERMINAL, Job, State
from core.jobs.kinds import PAUSABLE
from core.security.keys import Caller

_PAUSE_QUEUED = outbox.recorded(
    f"""UPDATE jobs SET pause_requested_at = now(), available_at = {FAR}, rung_at = NULL, seq = seq + 1,
            seq_ceiling = seq + 1
        WHERE id = :id AND tenant_id = :tenant AND state = 'queued' AND pause_requested_at IS NULL
        RETURNING {outbox.FACT}, 'job.paused' AS fact_type, '{{}}'::jsonb AS fact_data"""  # noqa: S608 - only constants are formatted in
)
_PAUSE_RUNNING = text(
    """UPDATE jobs SET pause_requested_at = coalesce(pause_requested_at, now())
       WHERE id = :id AND tenant_id = :tenant AND state = 'running' RETURNING id"""
)
_RESUME_QUEUED = outbox.recorded(
    f"""UPDATE jobs SET pause_requested_at = NULL, available_at = now(), seq = seq + 1, seq_ceiling = seq + 1
        WHERE id = :id AND tenant_id = :tenant AND state = 'queued' AND pause_requested_at IS NOT NULL
        RETURNING {outbox.FACT}, 'job.resumed' AS fact_type, '{{}}'::jsonb AS fact_data"""  # noqa: S608 - only constants are formatted in
)
_RESUME_RUNNING = text(
    """UPDATE jobs SET pause_requested_at = NULL
       WHERE id = :id AND tenant_id = :tenant AND state = 'running' RETURNING id"""
)


async def pause(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """Hold a job until it is resumed; a running one saves first. The caller rings after the commit.

    Pausing twice is not an error. Raises NotFound, Conflict for one that has ended or cannot be paused.
    """
    _pausable(await service.get(session, caller, job_id), "pause")
    which = {"id": job_id, "tenant": caller.tenant_id}
    # A claim may slip between the first two, a requeue before the third.
    for statement in (_PAUSE_QUEUED, _PAUSE_RUNNING, _PAUSE_QUEUED):
        if (await session.execute(statement, which)).one_or_none() is not None:
            break
    return await service.get(session, caller, job_id)


async def resume(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """Let a paused job go on, from its last checkpoint. One that is not paused is left as it is.

    Raises NotFound, Conflict for one that has ended or cannot be paused.
    """
    _pausable(await service.get(session, caller, job_id), "resume")
    which = {"id": job_id, "tenant": caller.tenant_id}
    for statement in (_RESUME_QUEUED, _RESUME_RUNNING, _RESUME_QUEUED):
        if (await session.execute(statement, which)).one_or_none() is not None:
            break
    return await service.get(session, caller, job_id)


def _pausable(job: Job, verb: str) -> None:
    if job.kind not in PAUSABLE:
        raise Conflict(
            f"A job of kind {job.kind} cannot be paused; cancel it instead", code="not_pausable"
        )
    if State(job.state) in TERMINAL:
        raise Conflict(f"The job has already {job.state}; nothing to {verb}", code="job_ended")
