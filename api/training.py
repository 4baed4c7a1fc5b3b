"""The checks between a well-formed job that trains and 202: are its files there, the caller's, and meant for this."""

from collections.abc import Iterator, Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import Parts
from core.catalog import datasets
from core.errors import InvalidInput
from core.files import service as files
from core.files.tables import File
from core.jobs.formats import BYTES_A_TOKEN
from core.jobs.kinds import DatasetJob, FinetuneJob, JobSpec
from core.security.keys import Caller

PURPOSE = "fine-tune"


async def admit_data(
    parts: Parts, caller: Caller, spec: JobSpec, names: Mapping[str, str] | None = None
) -> None:
    """Look for the files of a job that reads any, and tell it how much there is; rows are looked at by the job.

    `names`: what this surface calls a field of the spec. Raises InvalidInput, NotFound naming the field.
    """
    if not isinstance(spec, FinetuneJob | DatasetJob):
        return
    called, size = names or {}, 0
    async with parts.db.single() as session:
        for field, file_id in _files(spec):
            param = called.get(field, field)
            size += (await _file(session, caller, file_id, param)).bytes
        if isinstance(spec, FinetuneJob) and spec.dataset is not None:
            param = called.get("dataset", "dataset")
            found = await datasets.get(session, caller, spec.dataset, param=param)
            size += int(found.report.get("tokens") or 0) * BYTES_A_TOKEN
    spec.expect(size)


def _files(spec: FinetuneJob | DatasetJob) -> Iterator[tuple[str, str]]:
    """Where a file is named, and its id."""
    match spec:
        case FinetuneJob():
            for name in ("training_file", "validation_file"):
                if (file_id := getattr(spec, name)) is not None:
                    yield name, file_id
        case DatasetJob():
            for name in ("sources", "validation"):
                for number, source in enumerate(getattr(spec, name)):
                    if source.file is not None:
                        yield f"{name}.{number}.file", source.file


async def _file(session: AsyncSession, caller: Caller, file_id: str, param: str) -> File:
    file = await files.get(session, caller, file_id, param=param)
    if file.purpose != PURPOSE:
        raise InvalidInput(
            f"{param}: the file's purpose is {file.purpose!r}; send it again with purpose {PURPOSE!r}",
            param=param,
        )
    return file
