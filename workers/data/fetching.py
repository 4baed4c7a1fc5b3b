"""Sources of a bucket as files here, so that one reader serves all; each ends with the run."""

import asyncio
from pathlib import Path, PurePosixPath

from core.config import Settings
from core.errors import InvalidInput, NotFound
from core.storage import outside
from workers.data.plan import Source
from workers.data.problems import whole


def local(sources: list[Source], settings: Settings, folder: Path, param: str) -> list[Source]:
    """The same sources with s3:// addresses copied into `folder`; a prefix becomes several. Raises Invalid."""
    made: list[Source] = []
    for source in sources:
        if source.uri is None:
            made.append(source)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for uri in asyncio.run(_keys(source.uri, settings)):
                into = folder / f"{len(made):05d}{''.join(PurePosixPath(uri).suffixes)}"
                asyncio.run(outside.copied(uri, settings, into))
                made.append(Source(path=str(into), name=uri))
        except (InvalidInput, NotFound) as error:
            raise whole(source.uri, error.message, code=error.code, param=param) from error
    return made


async def _keys(uri: str, settings: Settings) -> list[str]:
    return list(await outside.keys(uri, settings))
