"""What the file and upload routes take and give, as OpenAI's client knows it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.files import uploads
from core.files.rules import MAX_KEEP_S, MAX_NAME, MIN_KEEP_S, UPLOADED
from core.files.tables import File, Upload, UploadPart
from core.jobs.sampling import no_nul

# Which purposes there are is core's to say, in an error that lists them.
Text = Annotated[str, AfterValidator(no_nul)]
PartId = Annotated[Text, Field(max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ExpiresAfter(_Body):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=MIN_KEEP_S, le=MAX_KEEP_S)]


class NewUpload(_Body):
    """`bytes`: of the whole file, which the parts must add up to."""

    bytes: Annotated[int, Field(ge=1, le=2**53)]
    filename: Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]
    mime_type: Annotated[Text, Field(min_length=1, max_length=255)]
    purpose: Annotated[Text, Field(max_length=64, examples=["batch"])]
    expires_after: ExpiresAfter | None = None


class Complete(_Body):
    """`part_ids` in the order of their bytes; `md5` of the whole, in hexadecimal."""

    part_ids: Annotated[list[PartId], Field(min_length=1, max_length=uploads.MAX_PARTS)]
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None


class FileView(BaseModel):
    """`sha256` of the content, in hexadecimal, is our own addition."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None
    sha256: str


class FileList(BaseModel):
    object: Literal["list"]
    data: list[FileView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    id: str
    object: Literal["file"]
    deleted: bool


class UploadView(BaseModel):
    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileView | None


class PartView(BaseModel):
    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


def _form(file_field: str, fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": [file_field, *required],
        "properties": {file_field: {"type": "string", "format": "binary"}, **fields},
        "additionalProperties": False,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


# The bodies are read as they come, not by FastAPI, so their shapes are written out.
FILE_FORM = _form(
    "file",
    {
        "purpose": {"type": "string", "enum": list(UPLOADED)},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {
            "type": "integer", "minimum": MIN_KEEP_S, "maximum": MAX_KEEP_S,
        },
    },
    ["purpose"],
)  # fmt: skip
PART_FORM = _form("data", {}, [])
CONTENT = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def file(row: File) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": _seconds(row.created_at),
        "expires_at": _seconds(row.expires_at) if row.expires_at is not None else None,
        "filename": row.filename,
        "purpose": row.purpose,
        # A file is shown once its bytes are durable: nothing is left to be processed.
        "status": "processed",
        "status_details": None,
        "sha256": row.sha256,
    }


def upload(row: Upload, made: File | None = None) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "upload",
        "bytes": row.bytes,
        "created_at": _seconds(row.created_at),
        "expires_at": _seconds(row.expires_at),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": uploads.status(row),
        "file": file(made) if made is not None else None,
    }


def part(row: UploadPart) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "upload.part",
        "created_at": _seconds(row.created_at),
        "upload_id": row.upload_id,
    }
