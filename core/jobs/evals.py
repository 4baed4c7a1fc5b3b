"""Evals: what is asked and expected, kept once; and their runs, each an audit with a row beside its job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ForeignKey, Index, String, delete, func, insert, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.jobs.job import TERMINAL, Job, State
from core.security.keys import Caller

Order = Literal["asc", "desc"]
RUN = "evalrun_"


class Eval(Base):
    __tablename__ = "evals"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str]
    data_source_config: Mapped[dict[str, Any]] = mapped_column(comment="as the client gave it")
    testing_criteria: Mapped[list[dict[str, Any]]] = mapped_column(comment="likewise")
    labels: Mapped[dict[str, Any]] = mapped_column("metadata", comment="the client's own pairs")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_evals_tenant", "tenant_id", "id"),)


class EvalRun(Base):
    """The job is the record: state, times, usage and metadata are its own. `criteria`: what each of the eval's
    criteria is in the audit: its suite, and of a grader its name there."""

    __tablename__ = "eval_runs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    eval_id: Mapped[str] = mapped_column(ForeignKey("evals.id", ondelete="CASCADE"))
    name: Mapped[str]
    data_source: Mapped[dict[str, Any]] = mapped_column(comment="as the client gave it")
    criteria: Mapped[list[dict[str, Any]]] = mapped_column(comment="[{name, type, suite, grader}]")

    __table_args__ = (Index("ix_eval_runs_eval", "eval_id", "job_id"),)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run on its way to being kept, with its job."""

    eval_id: str
    name: str
    data_source: dict[str, Any]
    criteria: list[dict[str, Any]]


async def create(
    session: AsyncSession,
    caller: Caller,
    *,
    name: str,
    config: dict[str, Any],
    criteria: list[dict[str, Any]],
    metadata: dict[str, str],
) -> Eval:
    made = Eval(
        id=new_id("eval"), tenant_id=caller.tenant_id, name=name, data_source_config=config,
        testing_criteria=criteria, labels=metadata,
    )  # fmt: skip
    session.add(made)
    await session.flush()
    await session.refresh(made)
    return made


async def get(session: AsyncSession, caller: Caller, eval_id: str, *, lock: bool = False) -> Eval:
    """Raises NotFound for one that is not there or another tenant's: the two look the same."""
    query = select(Eval).where(Eval.id == eval_id, Eval.tenant_id == caller.tenant_id)
    found = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"No eval {eval_id[:64]!r}. Check the id and the key's tenant.",
            param="eval_id",
            code="eval_not_found",
        )
    return found


async def change(
    session: AsyncSession,
    caller: Caller,
    eval_id: str,
    *,
    name: str | None,
    metadata: dict[str, str] | None,
) -> Eval:
    """A new name, new metadata; what is asked and expected stays, as runs were made of it. Raises NotFound."""
    found = await get(session, caller, eval_id, lock=True)
    found.name = found.name if name is None else name
    found.labels = found.labels if metadata is None else metadata
    found.updated_at = func.now()
    await session.flush()
    await session.refresh(found)
    return found


async def listed(
    session: AsyncSession,
    caller: Caller,
    *,
    after: str | None,
    limit: int,
    order: Order,
    by_change: bool = False,
) -> tuple[list[Eval], bool]:
    """A page from behind `after`, by the time of creation or of the last change. Raises NotFound for `after`."""
    column = Eval.updated_at if by_change else Eval.created_at
    query = select(Eval).where(Eval.tenant_id == caller.tenant_id)
    ends = (column.asc(), Eval.id.asc()) if order == "asc" else (column.desc(), Eval.id.desc())
    if after is not None:
        last = await get(session, caller, after)
        at = last.updated_at if by_change else last.created_at
        beyond = tuple_(column, Eval.id)
        mark = tuple_(literal(at), literal(last.id))
        query = query.where(beyond > mark if order == "asc" else beyond < mark)
    found = list((await session.scalars(query.order_by(*ends).limit(limit + 1))).all())
    return found[:limit], len(found) > limit


async def remove(session: AsyncSession, caller: Caller, eval_id: str) -> None:
    """Delete an eval and its runs; their audits stay, and go on. Raises NotFound."""
    found = await get(session, caller, eval_id, lock=True)
    await session.execute(delete(Eval).where(Eval.id == found.id))


async def keep(session: AsyncSession, new: Mapping[str, NewRun | None]) -> None:
    """Write down new jobs' runs, by their ids, in the transaction that makes the jobs."""
    rows = [
        {
            "job_id": job, "eval_id": run.eval_id, "name": run.name,
            "data_source": run.data_source, "criteria": run.criteria,
        }
        for job, run in new.items()
        if run is not None
    ]  # fmt: skip
    if rows:
        await session.execute(insert(EvalRun), rows)


def run_id(job_id: str) -> str:
    return RUN + job_id.removeprefix("job_")


def job_id(of: str) -> str:
    """Raises NotFound for what cannot be the id of a run."""
    if not of.startswith(RUN):
        raise _missing(of)
    return "job_" + of.removeprefix(RUN)


def _missing(of: str) -> NotFound:
    return NotFound(
        f"No run {of[:64]!r} of this eval. Check the ids and the key's tenant.",
        param="run_id",
        code="eval_run_not_found",
    )


async def run(session: AsyncSession, caller: Caller, eval_id: str, of: str) -> tuple[Job, EvalRun]:
    """Raises NotFound for one that is not there, of another eval, or another tenant's."""
    query = (
        select(Job, EvalRun)
        .join(EvalRun, EvalRun.job_id == Job.id)
        .where(Job.id == job_id(of), Job.tenant_id == caller.tenant_id, EvalRun.eval_id == eval_id)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise _missing(of)
    return row.Job, row.EvalRun


async def runs(
    session: AsyncSession,
    caller: Caller,
    eval_id: str,
    *,
    states: tuple[State, ...] | None,
    after: str | None,
    limit: int,
    order: Order,
) -> tuple[list[tuple[Job, EvalRun]], bool]:
    """A page of an eval's runs from behind the run `after`. Raises NotFound for the eval."""
    await get(session, caller, eval_id)
    query = (
        select(Job, EvalRun)
        .join(EvalRun, EvalRun.job_id == Job.id)
        .where(EvalRun.eval_id == eval_id, Job.tenant_id == caller.tenant_id)
        .order_by(Job.id.asc() if order == "asc" else Job.id.desc())
    )
    if states is not None:
        query = query.where(Job.state.in_(states))
    if after is not None:
        last = job_id(after)
        query = query.where(Job.id > last if order == "asc" else Job.id < last)
    found = [(row.Job, row.EvalRun) for row in await session.execute(query.limit(limit + 1))]
    return found[:limit], len(found) > limit


async def remove_run(session: AsyncSession, caller: Caller, eval_id: str, of: str) -> None:
    """Delete a run that has ended; its audit stays. Raises NotFound, Conflict while it runs."""
    job, _ = await run(session, caller, eval_id, of)
    if State(job.state) not in TERMINAL:
        raise Conflict(
            f"The run is {job.state}; cancel it first (POST /v1/evals/{eval_id}/runs/{of[:64]}).",
            param="run_id",
            code="eval_run_not_ended",
        )
    await session.execute(delete(EvalRun).where(EvalRun.job_id == job.id))
