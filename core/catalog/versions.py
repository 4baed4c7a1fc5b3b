"""Versions: models that jobs made of served ones, shown once their job has succeeded, each with its lineage."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from core.catalog import artifacts
from core.catalog.artifacts import Artifact
from core.catalog.models import Model, Served
from core.catalog.prices import Prices
from core.catalog.tables import Version
from core.errors import InvalidInput, NotFound
from core.ids import new_id
from core.security.keys import Caller, Tenant

FT = "ft:"
MAX_SUFFIX = 64
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RETIRED = "retired"

# For `outbox.recorded(move, also)` of a statement that ends jobs: what a job made is to be seen from exactly
# the statement on that makes it succeeded, and never of one that ended otherwise.
PUBLISH = """, published AS (
    UPDATE versions v SET published_at = now() FROM moved m
    WHERE m.kind = 'finetune' AND m.state = 'succeeded' AND v.job_id = m.id AND v.published_at IS NULL
), published_data AS (
    UPDATE dataset_versions v SET published_at = now() FROM moved m
    WHERE m.kind = 'dataset' AND m.state = 'succeeded' AND v.job_id = m.id AND v.published_at IS NULL
)"""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to be a version. `base`: the served model's name, and `base_digest` its digest then; `job_id`: of
    the job that makes it, without which it is published at once; `context` in tokens, 0: the base's."""

    tenant_id: str
    base: str
    base_digest: str
    suffix: str = ""
    kind: Literal["adapter", "full"] = "adapter"
    job_id: str | None = None
    lineage: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    context: int = 0


def check_suffix(suffix: str, *, param: str = "suffix") -> str:
    """Raises InvalidInput: it becomes a part of the model's name, between colons."""
    if suffix and not _SUFFIX.fullmatch(suffix):
        raise InvalidInput(
            f"{param} must have 1 to {MAX_SUFFIX} letters, digits, dots, dashes and underscores, "
            "and begin with a letter or digit",
            param=param,
        )
    return suffix


async def add(session: AsyncSession, new: NewVersion, artifact: Artifact) -> Version:
    """The row of a version; when its job has one already, that one, whatever `artifact` is now.

    To be called in a transaction (`Database.begin`). Nobody but its job sees it before the job has succeeded.
    """
    if new.job_id is not None and (found := await of_job(session, new.job_id)) is not None:
        return found
    check_suffix(new.suffix)
    tenant = (await session.scalars(select(Tenant).where(Tenant.id == new.tenant_id))).one()
    # Numbers are given one after the other; two attempts of a job wait for each other here, too.
    line = f"versions {new.tenant_id} {new.base} {new.suffix}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(line, 0))))
    if new.job_id is not None and (found := await of_job(session, new.job_id)) is not None:
        return found
    kept = await artifacts.add(session, artifact)
    version_id = new_id("ver")
    version = Version(
        id=version_id, tenant_id=new.tenant_id, name=_name(new, tenant, version_id), kind=new.kind,
        base=new.base, base_digest=new.base_digest, suffix=new.suffix,
        number=await _next_number(session, new), artifact=kept.digest, digest=kept.digest,
        job_id=new.job_id, lineage=new.lineage, metrics=new.metrics, context=new.context,
        published_at=func.now() if new.job_id is None else None,
    )  # fmt: skip
    session.add(version)
    await session.flush()
    await session.refresh(version)
    return version


async def of_job(session: AsyncSession, job_id: str) -> Version | None:
    """What a job made, also before it is published."""
    found: Version | None = await session.scalar(select(Version).where(Version.job_id == job_id))
    return found


async def get(session: AsyncSession, caller: Caller, name: str, *, lock: bool = False) -> Version:
    """By its name or id. Raises NotFound for one that is not published, or another tenant's."""
    query = select(Version).where(
        *published(caller.tenant_id), (Version.name == name) | (Version.id == name)
    )
    found = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"No version {name[:128]!r}. List them: GET /v1/models.",
            param="model",
            code="model_not_found",
        )
    return found


async def listed(session: AsyncSession, tenant_id: str) -> list[Version]:
    """Every published version of a tenant, retired ones too, oldest first."""
    query = select(Version).where(*published(tenant_id)).order_by(Version.id)
    return list((await session.scalars(query)).all())


async def served(session: AsyncSession, tenant_id: str) -> list[Served]:
    """The tenant's versions that can be asked for: published, not retired, and a worker serves what they need.

    An adapter needs the very weights it was trained on: on others it would answer nonsense. A whole model is
    served by workers of its own, under its own name.
    """
    adapter = and_(
        Version.kind == "adapter", Model.name == Version.base, Model.digest == Version.base_digest
    )
    whole = and_(Version.kind == "full", Model.name == Version.name)
    rows = await session.execute(
        select(Version, Model)
        .join(Model, or_(adapter, whole))
        .where(*published(tenant_id), Version.stage != RETIRED, Version.artifact.is_not(None))
        .order_by(Version.id)
    )
    return [_served(version, base) for version, base in rows]


def published(tenant_id: str) -> tuple[ColumnElement[bool], ...]:
    return Version.tenant_id == tenant_id, Version.published_at.is_not(None)


def _served(version: Version, base: Model) -> Served:
    assert version.published_at is not None
    adapts = version.kind == "adapter"
    return Served(
        version.name,
        base.source,
        min(version.context or base.context, base.context),
        int(version.published_at.timestamp()),
        base.kind,
        prices=Prices(base.price_in, base.price_out, base.price_cached),
        digest=together(base.digest, version.digest) if adapts else base.digest,
        runs_on=base.name if adapts else "",
        adapter=version.digest if adapts else "",
    )


def together(base_digest: str, adapter: str) -> str:
    """The digest of an adapter on its base, which caches and fingerprints go by."""
    return hashlib.sha256(f"{base_digest}\0{adapter}\n".encode()).hexdigest()


async def _next_number(session: AsyncSession, new: NewVersion) -> int:
    last = await session.scalar(
        select(func.max(Version.number)).where(
            Version.tenant_id == new.tenant_id,
            Version.base == new.base,
            Version.suffix == new.suffix,
        )
    )
    return (last or 0) + 1


def _name(new: NewVersion, tenant: Tenant, version_id: str) -> str:
    """ft:<base>:<tenant>:<suffix>:<the last 8 of its job's id>, as OpenAI's clients take apart."""
    owner = slug(tenant.name) or tenant.id[-8:]
    parts: Sequence[str] = (new.base, owner, new.suffix, (new.job_id or version_id)[-8:])
    return FT + ":".join(parts)


def slug(name: str) -> str:
    """A tenant's name as a part of others: lower case, with dashes for what has no place in there."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")[:32]
