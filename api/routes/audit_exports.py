"""An audit for other tools: a ZIP of Inspect logs, or of lm-eval's result files."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api.deps import CallerDep, JobId, PartsDep
from api.routes.jobs import ERRORS
from api.routes.openai.shapes import KNOWN
from core.audits.exports import service

router = APIRouter(prefix="/v1/audits", tags=["audits"], responses=ERRORS, dependencies=[KNOWN])
ZIP = "application/zip"
# In memory up to this; beyond it on disk.
_IN_MEMORY = 8 << 20
_CHUNK = 1 << 18


@router.get(
    "/{job_id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export(
    job_id: JobId,
    caller: CallerDep,
    parts: PartsDep,
    format: Annotated[Literal["inspect", "lm-eval"], Query()] = "inspect",  # noqa: A002 - the query's name
) -> StreamingResponse:
    """The audit in another tool's format: Inspect logs (JSON, one for each suite) or lm-eval's results and samples."""
    out: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it is closed when it has been sent
    try:
        await service.export(parts.db, caller, job_id, format, out)
    except BaseException:
        out.close()
        raise
    headers = {
        "content-disposition": f'attachment; filename="{job_id}-{format}.zip"',
        "content-length": str(out.tell()),
        # It quotes what people asked and a model wrote.
        "cache-control": "private, no-store",
    }
    out.seek(0)
    return StreamingResponse(_sent(out), headers=headers, media_type=ZIP)


async def _sent(out: IO[Any]) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(out.read, _CHUNK):
            yield chunk
    finally:
        out.close()
