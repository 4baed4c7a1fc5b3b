"""Uploads: a file announced first, sent in parts of up to 64 MiB, and put together from them."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.background import BackgroundTask

from api.deps import CallerDep, Parts, PartsDep, SessionDep
from api.multipart import Form
from api.routes.jobs import ERRORS, answer
from api.routes.openai import file_shapes as shapes
from api.routes.openai.files import drop
from api.routes.openai.shapes import OPENAI
from core.errors import Conflict, InvalidInput, NotFound, PenstockError, Unavailable
from core.files import rules, service, uploads
from core.files.tables import File, Upload
from core.files.uploads import Sum
from core.ids import new_id
from core.security.keys import Caller

router = APIRouter(prefix="/v1/uploads", tags=["files"], responses=ERRORS, dependencies=[OPENAI])

UploadId = Annotated[str, Path(max_length=64, examples=["upload_01kaq0v9ej6xk0m3c8s5t1w2yz"])]


@router.post("", responses={200: {"model": shapes.UploadView}})
async def create(
    new: shapes.NewUpload, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Announce a file. It must be complete within an hour."""
    keep = new.expires_after
    upload = await uploads.create(
        session, caller,
        filename=rules.check_name(new.filename, param="filename"),
        purpose=rules.check_purpose(new.purpose),
        mime_type=new.mime_type,
        size=new.bytes,
        keep_s=keep.seconds if keep is not None else None,
        limit=parts.settings.max_upload_bytes,
    )  # fmt: skip
    return answer(shapes.upload(upload))


@router.post(
    "/{upload_id}/parts",
    responses={200: {"model": shapes.PartView}},
    openapi_extra=shapes.PART_FORM,
)
async def add_part(
    upload_id: UploadId, request: Request, caller: CallerDep, parts: PartsDep
) -> Response:
    """Send some bytes. Parts may be sent in any order and at the same time."""
    async with parts.db.begin() as session:
        await uploads.opened(session, caller, upload_id)
    form = await Form.opened(request, "data")
    part_id = new_id("part")
    key = uploads.key_of(part_id)
    stored = await parts.storage.write(key, service.within(form.chunks(), uploads.MAX_PART, "data"))
    try:
        await form.rest()
        if form.fields:
            name = min(form.fields)[:64]
            raise InvalidInput(f"{name} is no field of a part; leave it out", param=name)
        async with parts.db.begin() as session:
            part = await uploads.add_part(session, caller, upload_id, part_id, stored)
    except PenstockError:
        await drop(parts.storage, key)
        raise
    return answer(shapes.part(part))


@router.post("/{upload_id}/complete", responses={200: {"model": shapes.UploadView}})
async def complete(
    upload_id: UploadId, wanted: shapes.Complete, caller: CallerDep, parts: PartsDep
) -> Response:
    """Make a file of the parts, in this order. Asking again with the same parts is answered alike."""
    plan = await _planned(parts, caller, upload_id, wanted.part_ids)
    if isinstance(plan, Sum):
        try:
            return await _completed(parts, caller, plan, wanted.md5)
        except (NotFound, Conflict, Unavailable):
            # Somebody may have completed or cancelled it while we were reading its parts; what a store says
            # of an object that goes away under a reader differs from store to store.
            plan = await _planned(parts, caller, upload_id, wanted.part_ids)
            if isinstance(plan, Sum):
                raise
    upload, file = plan
    return answer(shapes.upload(upload, file))


async def _planned(
    parts: Parts, caller: Caller, upload_id: str, part_ids: list[str]
) -> Sum | tuple[Upload, File]:
    """What to put together, or what was made of the same parts before."""
    async with parts.db.begin() as session:
        plan = await uploads.planned(session, caller, upload_id, part_ids)
        if isinstance(plan, Sum):
            return plan
        return plan, await service.get(session, caller, plan.file_id or "")


async def _completed(parts: Parts, caller: Caller, plan: Sum, md5: str | None) -> Response:
    kept = await uploads.put_together(parts.storage, plan, md5)
    try:
        async with parts.db.begin() as session:
            upload, file, keys = await uploads.complete(session, caller, plan, kept)
    except PenstockError:
        await drop(parts.storage, service.key_of(kept.id))
        raise
    response = answer(shapes.upload(upload, file))
    response.background = BackgroundTask(drop, parts.storage, *keys)
    return response


@router.post("/{upload_id}/cancel", responses={200: {"model": shapes.UploadView}})
async def cancel(upload_id: UploadId, caller: CallerDep, parts: PartsDep) -> Response:
    """Give an upload up; its parts are deleted."""
    async with parts.db.begin() as session:
        upload, keys = await uploads.cancel(session, caller, upload_id)
    response = answer(shapes.upload(upload))
    response.background = BackgroundTask(drop, parts.storage, *keys)
    return response
