"""Items that come inside a request for a run become a file of the tenant's, as an audit reads files."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson

from api.deps import Parts
from api.routes.openai.files import drop
from core.errors import PenstockError
from core.files import service as files
from core.security.keys import Caller

PURPOSE, NAME = "evals", "eval-run-items.jsonl"


async def brought(parts: Parts, caller: Caller, items: list[dict[str, Any]] | None) -> str | None:
    """The id of the file that holds them; None for none.

    The same items are the same file: a request that is sent again asks for the same audit.
    """
    if items is None:
        return None
    lines = b"".join(orjson.dumps(one) + b"\n" for one in items)
    async with parts.db.single() as session:
        known = await files.same(session, caller, hashlib.sha256(lines).hexdigest(), PURPOSE)
    if known is not None:
        return known.id
    kept = await files.keep(
        parts.storage, _once(lines), limit=parts.settings.max_file_bytes, param="data_source.source"
    )
    try:
        async with parts.db.begin() as session:
            file = await files.add(session, caller.tenant_id, kept, filename=NAME, purpose=PURPOSE)
    except PenstockError:
        await drop(parts.storage, files.key_of(kept.id))
        raise
    return file.id


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
