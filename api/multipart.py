"""A multipart/form-data body read as it comes: small fields are kept, one file is passed on, nothing is spooled."""

from collections import deque
from collections.abc import AsyncIterator

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from core.errors import InvalidInput

# Of the fields beside the file, which are a purpose and an expiry.
MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
# What the body of a form may have beside the file: boundaries, headers, fields.
OVERHEAD_BYTES = 128 * 1024


class Form:
    """`fields` and `filename` are what has been read: after `opened`, all up to the file's first byte;
    after `rest`, all. `file`: the name of the field that holds the file."""

    def __init__(self, request: Request, file: str) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._file = file
        self._body = request.stream()
        try:
            self._parser = MultipartParser(
                _boundary(request),
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_ends,
                    "on_end": self._form_ends,
                },
            )
        except FormParserError as error:
            raise _broken() from error
        self._headers: dict[bytes, bytes] = {}
        self._header = (b"", b"")
        self._field: str | None = None
        self._value = bytearray()
        self._chunks: deque[bytes] = deque()
        self._in_file = False
        self._ended = False

    @classmethod
    async def opened(cls, request: Request, file: str) -> "Form":
        """Read up to the file. Raises InvalidInput for what is not such a form, or has no file."""
        form = cls(request, file)
        while form.filename is None:
            if form._ended:
                raise InvalidInput(
                    f"{file} is missing; send it as a part with a filename", param=file
                )
            await form._pull()
        return form

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the file as they arrive. Raises InvalidInput when the body breaks off."""
        while self._in_file or self._chunks:
            while self._chunks:
                yield self._chunks.popleft()
            if self._in_file:
                await self._pull()

    async def rest(self) -> None:
        """Read what follows the file, which may be further fields. Raises InvalidInput."""
        while not self._ended:
            await self._pull()

    async def _pull(self) -> None:
        try:
            chunk = await anext(self._body, b"")
        except ClientDisconnect as error:
            raise _broken() from error
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken() from error
        if not chunk and not self._ended:
            raise _broken()

    def _part_begins(self) -> None:
        self._headers.clear()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = (name + data[start:end], value)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = (name, value + data[start:end])

    def _header_ends(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = (b"", b"")

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise InvalidInput(
                "each part of the form needs a header Content-Disposition: form-data; name=..."
            )
        name = _text(options[b"name"], "the name of a field")
        if name == self._file:
            self._file_begins(options.get(b"filename"))
        elif name in self.fields or len(self.fields) >= MAX_FIELDS:
            raise InvalidInput(f"{name[:64]!r} is one field too many", param=name[:64])
        else:
            self._field = name

    def _file_begins(self, filename: bytes | None) -> None:
        if filename is None:
            raise InvalidInput(
                f"{self._file} must be a file: a part with a filename", param=self._file
            )
        if self.filename is not None:
            raise InvalidInput(f"{self._file} is given twice; send one", param=self._file)
        self.filename = _text(filename, "the file's name", param=self._file)
        self._in_file = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._chunks.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            raise InvalidInput(
                f"{self._field[:64]} has more than {MAX_FIELD_BYTES} bytes", param=self._field[:64]
            )

    def _part_ends(self) -> None:
        self._in_file = False
        if self._field is not None:
            self.fields[self._field] = _text(self._value, self._field[:64], param=self._field[:64])
            self._field = None
            self._value.clear()

    def _form_ends(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidInput(
            "Send the file as a form: Content-Type: multipart/form-data; boundary=...",
            code="unsupported_media_type",
        )
    return options[b"boundary"]


def _text(data: bytes | bytearray, what: str, *, param: str | None = None) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} is not UTF-8", param=param) from error
    if "\0" in text:
        raise InvalidInput(f"{what} contains a NUL character (U+0000); remove it", param=param)
    return text


def _broken() -> InvalidInput:
    return InvalidInput(
        "The body is not a whole multipart/form-data form: it is malformed or breaks off.",
        code="invalid_form",
    )
