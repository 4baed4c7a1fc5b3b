"""The files of an audit brought to this host, as its suites read them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.audits.chosen import Chosen
from core.audits.suites.own.imported import reading
from core.db.session import Database
from core.errors import InvalidInput, NotFound, Refused
from core.files import service as files
from core.files.copies import copied
from core.gate.tables import Audit
from core.security.keys import Caller
from core.storage.seam import Storage


async def brought(
    database: Database, storage: Storage, tenant_id: str, chosen: Sequence[Chosen], into: Path
) -> list[dict[str, Path]]:
    """Of each suite its files by name. Raises Refused for one that is gone, or is not what it was."""
    found = []
    for one in chosen:
        paths = {}
        for name, kept in one.files.items():
            param = f"{one.name}.files.{name}"
            paths[name] = await _one(
                database, storage, tenant_id, kept["id"], into / one.name, param
            )
        found.append(paths)
    return found


async def imported(
    database: Database,
    storage: Storage,
    audit: Audit,
    into: Path,
) -> list[dict[str, Any]]:
    """What `audits.findings` says of each imported result. Raises as `brought` does, and InvalidInput for a file that
    is no tool's result."""
    settings, told = audit.settings, []
    for number, kept in enumerate(settings["imports"]):
        param = f"imports.{number}"
        path = await _one(database, storage, audit.tenant_id, kept["id"], into / "imports", param)
        try:
            found = await asyncio.to_thread(reading.evidence, path, name=kept["name"])
        except InvalidInput as error:
            # Its place is one in a file that the client named; the field at fault is the one that names it.
            raise InvalidInput(error.message, param=param, code=error.code) from error
        told.append(
            {"id": kept["id"]}
            | await asyncio.to_thread(
                found.findings, confidence=settings["confidence"], seed=settings["seed"]
            )
        )
    return told


async def _one(
    database: Database, storage: Storage, tenant_id: str, file_id: str, into: Path, param: str
) -> Path:
    try:
        async with database.single() as session:
            file = await files.get(session, Caller(tenant_id, ""), file_id, param=param)
    except NotFound as error:
        raise Refused(f"{param}: the file {file_id} is gone", code="file_gone") from error
    # Its bytes are held against this row's digest; the row is the one that was there at submission.
    return await copied(storage, file, into, param=param)
