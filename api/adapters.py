"""Adapters that users bring: from their files to a version, with everything checked before anything is kept."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from api.deps import Parts
from api.routes.catalog_shapes import Import
from core.catalog import artifacts, imports, versions
from core.catalog.models import Served
from core.catalog.tables import Version
from core.catalog.versions import NewVersion
from core.errors import InvalidInput, Refused
from core.files import service as files
from core.files.tables import File
from core.security.keys import Caller


async def bring(parts: Parts, caller: Caller, wanted: Import) -> Version:
    """Raises InvalidInput naming the field or file at fault, NotFound for a file that is not there."""
    versions.check_suffix(wanted.suffix)
    imports.check_names(wanted.files)
    base = await parts.resolve(caller, wanted.base, param="base")
    if base.adapter or base.name.startswith(versions.FT):
        raise InvalidInput("base must be a model that workers serve for everybody", param="base")
    async with parts.db.single() as session:
        brought = {
            name: await files.get(session, caller, file_id, param=f"files.{name}")
            for name, file_id in wanted.files.items()
        }
    imports.check_size(brought, parts.settings.max_file_bytes)
    with TemporaryDirectory(prefix="penstock-import-") as scratch:
        artifact = await _kept(parts, brought, Path(scratch), base)
    new = NewVersion(
        caller.tenant_id, base.name, base.digest, wanted.suffix, context=base.context,
        lineage=_lineage(caller, brought, base),
    )  # fmt: skip
    async with parts.db.begin() as session:
        return await versions.add(session, new, artifact)


async def _kept(
    parts: Parts, brought: dict[str, File], folder: Path, base: Served
) -> artifacts.Artifact:
    await imports.bring(parts.storage, brought, folder)
    try:
        await asyncio.to_thread(imports.check_adapter, folder, Path(base.source))
        return await artifacts.keep(parts.storage, folder, "adapter")
    except Refused as error:
        raise InvalidInput(
            f"files.{error.message}", param=f"files.{error.param}", code=error.code
        ) from error


def _lineage(caller: Caller, brought: dict[str, File], base: Served) -> dict[str, object]:
    return {
        "job": None,
        "imported_by": caller.key_id,
        "files": {n: {"file": one.id, "sha256": one.sha256} for n, one in brought.items()},
        "base": base.name,
        "base_digest": base.digest,
    }
