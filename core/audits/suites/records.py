"""Records of an uploaded file, each held to a pydantic model; what is wrong is told by file, line and field."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InvalidInput, TooLarge

# One line is one record: what is longer is a file in the wrong format.
LONGEST_LINE = 1 << 20
# What a message repeats of a wrong value: enough to find it by.
SHOWN = 60
PAGE = "see the page of the suite under docs"


class Published(BaseModel):
    """A record of somebody else's file. Fields that are not listed are published too, and are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Shape(BaseModel):
    """A record of our own formats. Fields that are not known are refused, so that a misspelt one is not passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


M = TypeVar("M", bound=BaseModel)
K = TypeVar("K", dict[Any, Any], list[Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the suite's files something stands: `at` is "line 7", or a path into a JSON document; `line` the
    number of that line."""

    file: str
    at: str
    line: int = 0

    def wrong(self, field: str, problem: str, advice: str = "") -> InvalidInput:
        """The error to raise: file, line, field, what is wrong with it and what to do."""
        what = f"field {field!r} " if field else ""
        then = f"; {advice}" if advice else ""
        return InvalidInput(
            f"file {self.file!r}, {self.at}: {what}{problem}{then}", param=f"files.{self.file}"
        )


def line(file: str, number: int) -> Place:
    return Place(file, f"line {number}", number)


def text(file: str, path: Path) -> str:
    """Raises InvalidInput, which names the line, for what is not UTF-8 or holds a NUL, which Postgres cannot."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    for nul in _NULS:
        if nul in data:
            place = line(file, data.count(b"\n", 0, data.index(nul)) + 1)
            raise place.wrong("", "holds a NUL character", "take it out")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        place = line(file, data.count(b"\n", 0, error.start) + 1)
        raise place.wrong("", "is not UTF-8 text", "save the file as UTF-8") from None


_NULS = (b"\0", b"\\u0000")


def of_jsonl(file: str, path: Path, model: type[M]) -> Iterator[tuple[Place, M]]:
    """One JSON object a line, of which no more is held than it; empty lines are passed over."""
    empty = True
    with path.open("rb") as opened:
        number = 0
        # One byte more than a line may have tells that it has too many.
        while raw := opened.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise TooLarge(
                    f"file {file!r}, line {number}: is over 1 MiB; write one JSON object on each line",
                    param=f"files.{file}",
                )
            if raw.strip():
                empty = False
                yield line(file, number), _parsed(line(file, number), raw, model)
    if empty:
        raise line(file, 1).wrong(
            "", "is missing: the file holds nothing", "write one JSON object on each line"
        )


def _parsed(place: Place, raw: bytes, model: type[M]) -> M:
    if any(nul in raw for nul in _NULS):
        raise place.wrong("", "holds a NUL character", "take it out")
    try:
        # A byte order mark is an editor's, not the file's.
        return model.model_validate_json(raw.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        raise _refused(place, model, error) from None


def of_csv(file: str, path: Path, model: type[M]) -> Iterator[tuple[Place, M]]:
    """Comma-separated values under a header line, in which a field stands under its alias if it has one; a value may
    hold line breaks in quotes, and its place is the line it begins on."""
    rows = csv.reader(io.StringIO(text(file, path), newline=""), strict=True)
    try:
        header = next(rows, [])
        for name, field in model.model_fields.items():
            if field.is_required() and (column := field.alias or name) not in header:
                raise line(file, 1).wrong(column, "is not in the header", "name the column so")
        number, empty = rows.line_num + 1, True
        for values in rows:
            place, number = line(file, number), rows.line_num + 1
            if not values:
                continue
            empty = False
            if len(values) != len(header):
                problem = f"has {len(values)} fields, and the header has {len(header)}"
                raise place.wrong("", problem, 'put a field that holds a comma into quotes ("")')
            yield place, checked(place, model, dict(zip(header, values, strict=True)))
        if empty:
            raise line(file, 1).wrong("", "is followed by no rows", "add them below the header")
    except csv.Error as error:
        advice = "write it as comma-separated values with quotes around fields"
        raise line(file, rows.line_num).wrong("", f"cannot be read ({error})", advice) from None


def document(file: str, path: Path) -> Any:
    """A whole JSON document."""
    try:
        return json.loads(text(file, path))
    except json.JSONDecodeError as error:
        problem = f"is not JSON ({error.msg} at column {error.colno})"
        raise line(file, error.lineno).wrong("", problem, "correct it there") from None
    except RecursionError:
        raise line(file, 1).wrong("", "is nested too deeply", "upload a plain document") from None


def whole(place: Place, said: Any, advice: str) -> str:
    """A text that is not empty and that UTF-8 can hold: JSON may escape half of a surrogate pair."""
    if (
        not isinstance(said, str)
        or not said.strip()
        or any("\ud800" <= c <= "\udfff" for c in said)
    ):
        raise place.wrong("", f"must be a text, not {shown(said)}", advice)
    return said


def member(file: str, value: Any, name: str, kind: type[K], *, within: str = "") -> K:
    """`value[name]`, which must be there and a dict or a list."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        kinds = {dict: "an object", list: "a list"}
        problem = f"must be {kinds[kind]}, not {shown(found)}"
        raise Place(file, f"{within}{name}").wrong("", problem, PAGE)
    return found


def checked(place: Place, model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refused(place, model, error) from None


def _refused(place: Place, model: type[BaseModel], error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    problem = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "json_invalid":
        problem = f"is not a JSON object in UTF-8 ({problem})"
        return place.wrong("", problem, "write one JSON object on this line")
    if first["type"] == "extra_forbidden":
        known = f"the fields of a line are: {', '.join(model.model_fields)}"
        return place.wrong(".".join(where), "is not known", known)
    found = model.model_fields.get(where[0]) if where else None
    advice = found.description if found and found.description else PAGE
    if first["type"] == "missing":
        return place.wrong(".".join(where), "is missing", advice)
    return place.wrong(".".join(where), f"is wrong: {problem}, not {shown(first['input'])}", advice)


def shown(value: Any) -> str:
    # Escaped: what is wrong may be a character that no message could carry.
    said = json.dumps(value, default=str)
    return said if len(said) <= SHOWN else said[:SHOWN] + "..."
