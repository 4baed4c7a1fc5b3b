"""Of which digests a model is made: what evidence is bound to, the same for an audit and for the gate."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import versions
from core.catalog.models import Model, Served
from core.catalog.tables import Version
from core.gate.evidence import Candidate, Subject


def of_version(version: Version) -> Subject:
    """An adapter on the very weights it was trained on, or a whole model."""
    data = dataset_of(version.lineage)
    if version.kind == "adapter":
        return Subject(version.base_digest, version.digest, data)
    return Subject(version.digest, "", data)


async def of_model(session: AsyncSession, served: Served, tenant_id: str) -> Subject:
    """What an audit of a model that can be asked for is true of."""
    found: Version | None = await session.scalar(
        select(Version).where(*versions.published(tenant_id), Version.name == served.name)
    )
    return Subject(served.digest) if found is None else of_version(found)


async def of_served(session: AsyncSession, name: str) -> Candidate:
    """A model that workers serve for everybody, as they serve it now."""
    digest = await session.scalar(select(Model.digest).where(Model.name == name))
    return Candidate(name, Subject(digest or ""))


def candidate(version: Version) -> Candidate:
    return Candidate(version.name, of_version(version), version.id)


def dataset_of(lineage: Mapping[str, Any]) -> str:
    """SHA-256 over the digests of the files or datasets that a version was trained on; empty: not known."""
    given = lineage.get("data") or []
    digests = sorted(str(one.get("sha256") or one.get("digest") or "") for one in given)
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest() if digests else ""
