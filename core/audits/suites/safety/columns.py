"""Published tables of requests (CSV), each row held to a pydantic model; what is wrong is told by file, line, field."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core.audits.suites.lines import SHOWN, Place


class Columns(BaseModel):
    """A row. Columns that are not listed are published too, and are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


C = TypeVar("C", bound=Columns)


def of(file: str, path: Path, shape: type[C]) -> Iterator[tuple[Place, C]]:
    """Each row, its line being the one it begins on. Raises InvalidInput, also for a table of nothing."""
    rows = csv.reader(io.StringIO(_text(file, path), newline=""), strict=True)
    header: list[str] | None = None
    begun, empty = 1, True
    try:
        for cells in rows:
            place, begun = Place(file, begun), rows.line_num + 1
            if header is None:
                header = _header(place, cells, shape)
            elif cells:
                empty = False
                yield place, _checked(place, header, cells, shape)
    except csv.Error as error:
        raise Place(file, rows.line_num).wrong("", f"cannot be read as CSV: {error}") from None
    if empty:
        raise Place(file, 1).wrong("", "is missing: the table has no row; write one request a row")


def _text(file: str, path: Path) -> str:
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Place(file, line).wrong("", "is not UTF-8; save the file as UTF-8") from None


def _header(place: Place, cells: list[str], shape: type[Columns]) -> list[str]:
    for name, field in shape.model_fields.items():
        column = field.alias or name
        if field.is_required() and column not in cells:
            raise place.wrong(column, "is no column of the header; name the columns as published")
    return cells


def _checked(place: Place, header: list[str], cells: list[str], shape: type[C]) -> C:
    if len(cells) != len(header):
        raise place.wrong(
            "",
            f"has {len(cells)} cells, and the header has {len(header)}; put a cell with a comma "
            "into quotes",
        )
    try:
        return shape.model_validate(dict(zip(header, cells, strict=True)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = first["msg"][0].lower() + first["msg"][1:]
        shown = repr(first["input"])[:SHOWN]
        raise place.wrong(str(first["loc"][0]), f"is wrong: {problem}, not {shown}") from None
