"""What a job was asked for under /v1/responses, where the job alone does not say; written with the job."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Boolean, ForeignKey, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from core.db.base import Base
from core.errors import NotFound
from core.jobs.job import Job
from core.security.keys import Caller


class Response(Base):
    """The job is the record: state, text, usage and times are its own. `hidden`: 404 for its owner too."""

    __tablename__ = "responses"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    asked: Mapped[dict[str, Any]] = mapped_column(
        comment="the request, its input as a list of items with ids"
    )
    background: Mapped[bool]
    hidden: Mapped[bool] = mapped_column(comment="deleted by its owner, or not to be stored")


@dataclass(frozen=True, slots=True)
class Asking:
    """A response on its way to being kept. `stored`: it can be read afterwards."""

    asked: dict[str, Any]
    background: bool
    stored: bool


def response_id(job_id: str) -> str:
    return "resp_" + job_id.removeprefix("job_")


def job_id(of: str) -> str:
    """Raises NotFound for what cannot be the id of a response."""
    if not of.startswith("resp_"):
        raise _missing(of)
    return "job_" + of.removeprefix("resp_")


def _missing(of: str) -> NotFound:
    return NotFound(
        f"No response {of[:64]!r}. Check the id and the key's tenant; it may be deleted, or was sent with "
        "store: false.",
        param="response_id",
        code="response_not_found",
    )


_KEEP = text(
    """INSERT INTO responses (job_id, asked, background, hidden)
       SELECT * FROM unnest(:ids, cast(:asked AS jsonb[]), :background, :hidden)"""
).bindparams(
    bindparam("ids", type_=ARRAY(Text)),
    bindparam("asked", type_=ARRAY(Text)),
    bindparam("background", type_=ARRAY(Boolean)),
    bindparam("hidden", type_=ARRAY(Boolean)),
)


async def keep(session: AsyncSession, new: Mapping[str, Asking | None]) -> None:
    """Write down what new jobs were asked for, by their ids, in the transaction that makes them."""
    rows = {job: asking for job, asking in new.items() if asking is not None}
    if rows:
        await session.execute(
            _KEEP,
            {
                "ids": list(rows),
                "asked": [orjson.dumps(one.asked).decode() for one in rows.values()],
                "background": [one.background for one in rows.values()],
                "hidden": [not one.stored for one in rows.values()],
            },
        )


async def get(session: AsyncSession, caller: Caller, of: str) -> tuple[Job, Response]:
    """Raises NotFound for one that is not there, hidden, or another tenant's: all look the same."""
    query = (
        select(Job, Response)
        .join(Response, Response.job_id == Job.id)
        .where(Job.id == job_id(of), Job.tenant_id == caller.tenant_id, ~Response.hidden)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise _missing(of)
    return row.Job, row.Response


async def hide(session: AsyncSession, job: str) -> None:
    """From now on it is not found; the job stays as any other."""
    await session.execute(update(Response).where(Response.job_id == job).values(hidden=True))
