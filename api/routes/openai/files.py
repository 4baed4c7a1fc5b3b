"""Files: send, list, get, read, delete. Bytes stream through; a process never holds a whole file."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from api import views
from api.deps import CallerDep, PartsDep, SessionDep
from api.errors import envelope
from api.multipart import Form
from api.routes.jobs import ERRORS, answer
from api.routes.openai import file_shapes as shapes
from api.routes.openai.shapes import OPENAI
from core.errors import InvalidInput, PenstockError, Unavailable
from core.files import rules, service
from core.files.tables import File
from core.storage.seam import Storage

router = APIRouter(prefix="/v1/files", tags=["files"], responses=ERRORS, dependencies=[OPENAI])

FileId = Annotated[str, Path(max_length=64, examples=["file_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
_FIELDS = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@router.post("", responses={200: {"model": shapes.FileView}}, openapi_extra=shapes.FILE_FORM)
async def create(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    """Send a file. Once this answers, its bytes are durable."""
    form = await Form.opened(request, "file")
    filename = rules.check_name(form.filename or "")
    if "purpose" in form.fields:
        # The usual order of a form's fields: what is wrong is said before the bytes are taken.
        _wanted(form.fields)
    kept = await service.keep(parts.storage, form.chunks(), limit=parts.settings.max_file_bytes)
    try:
        await form.rest()
        purpose, keep_s = _wanted(form.fields)
        async with parts.db.begin() as session:
            file = await service.add(
                session, caller.tenant_id, kept, filename=filename, purpose=purpose, keep_s=keep_s
            )
    except PenstockError:
        await drop(parts.storage, service.key_of(kept.id))
        raise
    # Any other error may have come after the commit: then the bytes are the sweep's to judge.
    return answer(shapes.file(file))


def _wanted(fields: dict[str, str]) -> tuple[str, int | None]:
    """Purpose and seconds to keep. Raises InvalidInput."""
    if unknown := fields.keys() - _FIELDS:
        name = min(unknown)[:64]
        raise InvalidInput(f"{name} is no field of a file; leave it out", param=name)
    purpose = rules.check_purpose(fields.get("purpose"))
    keep_s = rules.check_keep(
        fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    )
    return purpose, keep_s


@router.get("", responses={200: {"model": shapes.FileList}})
async def listed(
    caller: CallerDep,
    session: SessionDep,
    purpose: Annotated[str | None, Query(pattern="^[a-z_-]{1,32}$")] = None,
    after: Annotated[str | None, Query(pattern=service.FILE_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """Your files, newest first; `after=<last_id>` continues."""
    found, more = await service.listed(
        session, caller, purpose=purpose, after=after, limit=limit, order=order
    )
    return answer(views.page([shapes.file(one) for one in found], more))


@router.get("/{file_id}", responses={200: {"model": shapes.FileView}})
async def get(file_id: FileId, caller: CallerDep, session: SessionDep) -> Response:
    """What a file is; its bytes are at /content."""
    return answer(shapes.file(await service.get(session, caller, file_id)))


@router.get(
    "/{file_id}/content",
    responses={200: shapes.CONTENT, 206: shapes.CONTENT, 416: ERRORS[400]},
    response_class=StreamingResponse,
)
async def content(
    file_id: FileId,
    caller: CallerDep,
    parts: PartsDep,
    wanted: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """The bytes, all or those of one `Range`."""
    async with parts.db.begin() as session:
        file = await service.get(session, caller, file_id)
    span = _span(wanted, file.bytes)
    if span is None:
        return envelope(
            416, f"Range must be within the file's {file.bytes} bytes", "invalid_request_error",
            param="Range", code="range_not_satisfiable",
            headers={"content-range": f"bytes */{file.bytes}"},
        )  # fmt: skip
    start, end = span
    chunks = aiter(parts.storage.read(service.key_of(file.id), start, end))
    # The first bytes before the first header: a store that is away is still an answer, not a torn stream.
    first = await anext(chunks, b"")
    headers = _headers(file) | {"content-length": str(end - start)}
    whole = (start, end) == (0, file.bytes)
    if not whole:
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    return StreamingResponse(_from(first, chunks), 200 if whole else 206, headers)


def _headers(file: File) -> dict[str, str]:
    return {
        "content-type": "application/octet-stream",
        # A tenant's bytes are never a page of ours.
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename)}",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": f'"{file.sha256}"',
    }


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of a Range header; the whole for none or one we do not know; None: outside."""
    known = _RANGE.fullmatch(wanted or "")
    if known is None or not any(known.groups()):
        return 0, size
    first, last = known.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            # Not a range at all, says RFC 9110; and so it is ignored.
            return 0, size
    return (start, end) if start < end else None


async def _from(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


@router.delete("/{file_id}", responses={200: {"model": shapes.DeletedFile}})
async def delete(file_id: FileId, caller: CallerDep, parts: PartsDep) -> Response:
    """Delete a file, for good."""
    async with parts.db.begin() as session:
        key = await service.remove(session, caller, file_id)
    response = answer({"id": file_id, "object": "file", "deleted": True})
    response.background = BackgroundTask(drop, parts.storage, key)
    return response


async def drop(storage: Storage, *keys: str) -> None:
    """Delete bytes that no row names. What cannot be deleted now, the sweep finds."""
    try:
        for key in keys:
            await storage.delete(key)
    except Unavailable:
        return
