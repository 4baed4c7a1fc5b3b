"""The client's verbs: submit, get, list, cancel. A tenant sees its own jobs and no others."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog.models import Served
from core.errors import Conflict, NotFound
from core.events import outbox
from core.jobs import batch
from core.jobs.job import PARTIAL, TERMINAL, USAGE, Job, State
from core.jobs.kinds import JobSpec
from core.jobs.submission import Submitted, Wish, check_key, submit_all
from core.ledger.entries import SETTLE
from core.security.keys import Caller


async def submit(
    session: AsyncSession,
    caller: Caller,
    spec: JobSpec,
    model: Served,
    *,
    idempotency_key: str | None = None,
) -> Submitted:
    """Record a job whose spec was checked against `model`; it is accepted once the session commits.

    Raises InvalidInput for a bad key, Conflict when the key was used with another body.
    """
    check_key(idempotency_key)
    (done,) = await submit_all(session, [Wish(caller, spec, model, idempotency_key)])
    if isinstance(done, Conflict):
        raise done
    return done


async def get(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """Raises NotFound for a job that is not there or not this tenant's: the two look the same."""
    # populate_existing: what moves a job is plain SQL, and one that was read before it would be shown as it was.
    job = await session.scalar(
        select(Job)
        .where(Job.id == job_id, Job.tenant_id == caller.tenant_id)
        .execution_options(populate_existing=True)
    )
    if job is None:
        raise _missing(job_id)
    return job


async def several(session: AsyncSession, caller: Caller, ids: Sequence[str]) -> dict[str, Job]:
    """Those of these jobs that are the tenant's, by their ids."""
    query = select(Job).where(Job.id.in_(ids), Job.tenant_id == caller.tenant_id)
    return {job.id: job for job in await session.scalars(query)}


def _missing(job_id: str) -> NotFound:
    return NotFound(f"No job {job_id}. Check the id and the key's tenant.", param="job_id")


class Standing(NamedTuple):
    """Where a job's log stands. A running attempt may have said more than `seq`, up to `ceiling`."""

    state: State
    seq: int
    ceiling: int


async def standing(session: AsyncSession, caller: Caller, job_id: str) -> Standing:
    """What a reader of the log needs to know of a job, without its spec and result. Raises NotFound."""
    row = (
        await session.execute(
            select(Job.state, Job.seq, Job.seq_ceiling).where(
                Job.id == job_id, Job.tenant_id == caller.tenant_id
            )
        )
    ).one_or_none()
    if row is None:
        raise _missing(job_id)
    return Standing(State(row.state), row.seq, max(row.seq, row.seq_ceiling))


async def listed(
    session: AsyncSession,
    caller: Caller,
    *,
    state: State | None = None,
    kind: str | None = None,
    after: str | None = None,
    limit: int = 20,
    labels: Mapping[str, str] | None = None,
) -> tuple[list[Job], bool]:
    """Newest first, from below `after`. Returns the page and whether there is more.

    `labels`: only jobs that have all these pairs of metadata; an empty mapping: only jobs that have none.
    """
    query = select(Job).where(Job.tenant_id == caller.tenant_id).order_by(Job.id.desc())
    if state is not None:
        query = query.where(Job.state == state)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if labels is not None:
        query = query.where(Job.labels.contains(labels) if labels else Job.labels == {})
    if after is not None:
        query = query.where(Job.id < after)
    jobs = list((await session.scalars(query.limit(limit + 1))).all())
    return jobs[:limit], len(jobs) > limit


_CANCEL_QUEUED = outbox.recorded(
    f"""UPDATE jobs SET state = 'cancelled', finished_at = now(), seq = seq + 1, rung_at = NULL,
            cancel_requested_at = now(),
            result = {PARTIAL}, usage = {USAGE}
        WHERE id = :id AND tenant_id = :tenant AND state = 'queued' AND kind <> 'batch'
        RETURNING {outbox.FACT}, usage, 'job.cancelled' AS fact_type, '{{}}'::jsonb AS fact_data""",  # noqa: S608 - only constants are formatted in
    SETTLE,
)

_CANCEL_RUNNING = text(
    """UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, now())
       WHERE id = :id AND tenant_id = :tenant AND state = 'running' AND kind <> 'batch' RETURNING id"""
)


async def cancel(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """A queued job ends here; a running one is asked to. The caller rings both after the commit.

    Cancelling twice is not an error. Raises NotFound, or Conflict when the job ended otherwise.
    """
    which = {"id": job_id, "tenant": caller.tenant_id}
    # A claim may slip between the two statements, a requeue after them: look until one of them held.
    for statement in (_CANCEL_QUEUED, _CANCEL_RUNNING, _CANCEL_QUEUED):
        if (await session.execute(statement, which)).one_or_none() is not None:
            break
    job = await get(session, caller, job_id)
    if job.kind == batch.KIND:
        raise Conflict(
            f"The job is a step of batch {job.spec['batch_id']}; cancel the batch",
            code="job_of_batch",
        )
    if State(job.state) in TERMINAL - {State.CANCELLED}:
        raise Conflict(f"The job has already {job.state}; nothing to cancel", code="job_ended")
    return job
