"""Records of an uploaded file, each checked by a pydantic model; a malformed one is refused by file, line and field."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InvalidInput

# What a message repeats of a wrong value: enough to find it by.
SHOWN = 60


class Record(BaseModel):
    """One record. Fields that are not listed are published too, and are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


R = TypeVar("R", bound=Record)
K = TypeVar("K", dict[Any, Any], list[Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the suite's files something stands: `at` is a line, or a path into a JSON document."""

    file: str
    at: str

    def wrong(self, field: str, problem: str, advice: str) -> InvalidInput:
        """The error to raise: file, line, field, what is wrong with it and what to do."""
        what = f"field {field!r} " if field else ""
        return InvalidInput(
            f"file {self.file!r}, {self.at}: {what}{problem}; {advice}", param=f"files.{self.file}"
        )


def line(file: str, number: int) -> Place:
    return Place(file, f"line {number}")


def text(file: str, path: Path) -> str:
    """Raises InvalidInput, which names the line, for what is not UTF-8 or holds a NUL, which Postgres cannot."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    for nul in (b"\0", b"\\u0000"):
        if nul in data:
            place = line(file, data.count(b"\n", 0, data.index(nul)) + 1)
            raise place.wrong("", "holds a NUL character", "take it out")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        place = line(file, data.count(b"\n", 0, error.start) + 1)
        raise place.wrong("", "is not UTF-8 text", "save the file as UTF-8") from None


def of_jsonl(file: str, path: Path, model: type[R]) -> Iterator[tuple[Place, R]]:
    """One JSON object a line; empty lines are passed over."""
    empty = True
    for number, said in enumerate(text(file, path).split("\n"), 1):
        if said.strip():
            empty = False
            place = line(file, number)
            try:
                yield place, model.model_validate_json(said)
            except ValidationError as error:
                raise _refused(place, model, error) from None
    if empty:
        raise Place(file, "line 1").wrong("", "holds nothing", "upload a file with one JSON a line")


def of_csv(file: str, path: Path, model: type[R]) -> Iterator[tuple[Place, R]]:
    """Comma-separated values under a header line; a field may hold line breaks in quotes."""
    rows = csv.reader(io.StringIO(text(file, path), newline=""), strict=True)
    try:
        header = next(rows, [])
        for name, field in model.model_fields.items():
            if field.is_required() and name not in header:
                raise line(file, 1).wrong(name, "is not in the header", "name the column so")
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
        raise Place(file, f"{within}{name}").wrong(
            "", problem, "see the page of the suite under docs"
        )
    return found


def checked(place: Place, model: type[R], value: Any) -> R:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refused(place, model, error) from None


def _refused(place: Place, model: type[Record], error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    problem = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "json_invalid":
        return place.wrong("", f"is not JSON ({problem})", "write one JSON object on this line")
    if first["type"] != "missing":
        problem += f", not {shown(first['input'])}"
    field = model.model_fields.get(where[0]) if where else None
    advice = (
        field.description if field and field.description else "see the page of the suite under docs"
    )
    return place.wrong(".".join(where), f"is wrong: {problem}", advice)


def shown(value: Any) -> str:
    # Escaped: what is wrong may be a character that no message could carry.
    said = json.dumps(value, default=str)
    return said if len(said) <= SHOWN else said[:SHOWN] + "..."
