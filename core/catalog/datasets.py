"""Dataset versions: what dataset jobs made, shown once their job has succeeded."""

import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from core.catalog import artifacts
from core.catalog.artifacts import Artifact
from core.catalog.tables import DatasetVersion
from core.errors import InvalidInput, NotFound
from core.ids import new_id
from core.security.keys import Caller

DATASET_ID = r"^dsv_[0-9a-z]{26}$"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class NewDataset:
    """`report`: the pipeline's numbers (workers/data); `job_id`: of the job that makes it, without which it is
    published at once."""

    tenant_id: str
    name: str
    report: dict[str, Any]
    lineage: dict[str, Any] = field(default_factory=dict)
    job_id: str | None = None


def check_name(name: str, *, param: str = "name") -> str:
    """Raises InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{param} must have 1 to 64 letters, digits, dots, dashes and underscores, "
            "and begin with a letter or digit",
            param=param,
        )
    return name


async def add(session: AsyncSession, new: NewDataset, artifact: Artifact) -> DatasetVersion:
    """The row of a dataset's version; when its job has one already, that one. To be called in a transaction."""
    if new.job_id is not None and (found := await of_job(session, new.job_id)) is not None:
        return found
    check_name(new.name)
    line = f"datasets {new.tenant_id} {new.name}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(line, 0))))
    if new.job_id is not None and (found := await of_job(session, new.job_id)) is not None:
        return found
    kept = await artifacts.add(session, artifact)
    last = await session.scalar(
        select(func.max(DatasetVersion.number)).where(
            DatasetVersion.tenant_id == new.tenant_id, DatasetVersion.name == new.name
        )
    )
    version = DatasetVersion(
        id=new_id("dsv"), tenant_id=new.tenant_id, name=new.name, number=(last or 0) + 1,
        artifact=kept.digest, digest=kept.digest, report=new.report, lineage=new.lineage,
        job_id=new.job_id, published_at=func.now() if new.job_id is None else None,
    )  # fmt: skip
    session.add(version)
    await session.flush()
    await session.refresh(version)
    return version


async def of_job(session: AsyncSession, job_id: str) -> DatasetVersion | None:
    """What a job made, also before it is published."""
    query = select(DatasetVersion).where(DatasetVersion.job_id == job_id)
    found: DatasetVersion | None = await session.scalar(query)
    return found


async def get(
    session: AsyncSession, caller: Caller, dataset_id: str, *, param: str = "dataset"
) -> DatasetVersion:
    """Raises NotFound for one that is not published, retired, or another tenant's."""
    found = None
    if re.fullmatch(DATASET_ID, dataset_id):
        found = await session.scalar(
            select(DatasetVersion).where(
                DatasetVersion.id == dataset_id, *_published(caller.tenant_id)
            )
        )
    if found is None:
        raise NotFound(
            f"No dataset {dataset_id[:64]!r}. List them: GET /v1/datasets.",
            param=param,
            code="dataset_not_found",
        )
    return found


async def retire(session: AsyncSession, caller: Caller, dataset_id: str) -> DatasetVersion:
    """Take a version out of sight; its bytes go after PENSTOCK_RETIRED_KEEP_D days. Raises NotFound."""
    found = await get(session, caller, dataset_id, param="dataset_id")
    found.retired_at = func.now()
    await session.flush()
    return found


async def listed(
    session: AsyncSession,
    caller: Caller,
    *,
    name: str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> tuple[list[DatasetVersion], bool]:
    """A page of the tenant's, newest first, and whether there is more."""
    query = select(DatasetVersion).where(*_published(caller.tenant_id))
    if name is not None:
        query = query.where(DatasetVersion.name == name)
    if after is not None:
        query = query.where(DatasetVersion.id < after)
    query = query.order_by(DatasetVersion.id.desc()).limit(limit + 1)
    page = list((await session.scalars(query)).all())
    return page[:limit], len(page) > limit


def _published(tenant_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        DatasetVersion.tenant_id == tenant_id,
        DatasetVersion.published_at.is_not(None),
        DatasetVersion.retired_at.is_(None),
    )
