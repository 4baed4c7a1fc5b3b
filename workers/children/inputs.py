"""What trainings and datasets read: the model, and files brought to this host with their bytes checked."""

from dataclasses import dataclass
from pathlib import Path

from core.catalog import artifacts, datasets, models, versions
from core.catalog.artifacts import Artifact
from core.catalog.models import Served
from core.errors import NotFound, Refused
from core.files import service as files
from core.files.copies import copied
from core.security.keys import Caller
from workers.context import Attempt
from workers.process import FinetuneWorker


@dataclass(frozen=True, slots=True)
class Base:
    """The served model below, and the adapter to go on from, if the job names a version of it."""

    model: Served
    adapter: Artifact | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A file on this host. `name`: what its owner calls it; `id`, `sha256`: for the lineage."""

    id: str
    name: str
    path: Path
    sha256: str


async def base(worker: FinetuneWorker, attempt: Attempt) -> Base:
    """Raises Refused when the model is not there any more."""
    claim = attempt.claim
    async with worker.db.single() as session:
        served = {m.name: m for m in await models.listed(session)}
        mine = {m.name: m for m in await versions.served(session, claim.tenant_id)}
        found = served.get(claim.model) or mine.get(claim.model)
        if found is None:
            raise Refused(
                f"The model {claim.model!r} is no longer served here", code="model_not_found"
            )
        if not found.runs_on:
            return Base(found)
        return Base(served[found.runs_on], await artifacts.get(session, found.adapter))


async def fetched(
    worker: FinetuneWorker, tenant_id: str, file_id: str, into: Path, *, param: str
) -> Input:
    """A file's bytes below `into`. Raises Refused when it was deleted, expired, or is not what was uploaded."""
    async with worker.db.single() as session:
        caller = Caller(tenant_id, "")
        try:
            file = await files.get(session, caller, file_id, param=param)
        except NotFound as error:
            raise Refused(f"{param}: the file {file_id} is gone", code="file_gone") from error
    path = await copied(worker.storage, file, into, param=param)
    return Input(file.id, file.filename, path, file.sha256)


async def dataset(
    worker: FinetuneWorker, tenant_id: str, version_id: str, into: Path
) -> tuple[Path, str]:
    """The prepared folder of a dataset version, and its digest."""
    async with worker.db.single() as session:
        try:
            version = await datasets.get(session, Caller(tenant_id, ""), version_id)
        except NotFound as error:
            raise Refused(f"dataset: {version_id} is gone", code="dataset_gone") from error
        artifact = await artifacts.get(session, version.digest)
    return await artifacts.fetch(worker.storage, artifact, into), artifact.digest


async def adapter(worker: FinetuneWorker, artifact: Artifact, into: Path) -> Path:
    """The folder of an adapter to go on from. Raises ArtifactBroken naming the digest that differs."""
    return await artifacts.fetch(worker.storage, artifact, into)
