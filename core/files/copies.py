"""Files brought from the store to this host, with their bytes checked."""

import asyncio
import hashlib
from pathlib import Path

from core.errors import NotFound, Refused
from core.files.service import key_of
from core.files.tables import File
from core.storage.seam import Storage


async def copied(storage: Storage, file: File, into: Path, *, param: str) -> Path:
    """A file's bytes below `into`. Raises Refused naming `param` when they are gone, or not what was uploaded."""
    await asyncio.to_thread(into.mkdir, parents=True, exist_ok=True)
    # Whoever reads it knows it by its ending; the name is its owner's and stays out of our paths.
    path = into / (file.id + "".join(Path(file.filename).suffixes[-2:]))
    found = hashlib.sha256()
    try:
        with path.open("wb") as target:
            async for piece in storage.read(key_of(file.id)):
                found.update(piece)
                await asyncio.to_thread(target.write, piece)
    except NotFound as error:
        raise Refused(f"{param}: the content of {file.id} is gone", code="file_gone") from error
    if found.hexdigest() != file.sha256:
        raise Refused(
            f"{param}: {file.id} is broken: expected SHA-256 {file.sha256}, found {found.hexdigest()}",
            code="file_broken",
        )
    return path
