"""Uploaded JSON lines, each held to a pydantic model: what is wrong is told with file, line and field."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core.audits.suite import Files
from core.errors import InvalidInput, TooLarge

# One line is one question: what is longer is a file in the wrong format.
LONGEST_LINE = 1 << 20
# Of a wrong value, what a message repeats.
SHOWN = 60


class Shape(BaseModel):
    """A line. Fields that the suite does not know are refused, so that a misspelt one is not passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the file that the suite calls `file`."""

    file: str
    line: int

    def wrong(self, field: str, problem: str) -> InvalidInput:
        what = f" field {field!r}" if field else ""
        return InvalidInput(
            f"file {self.file!r}, line {self.line}:{what} {problem}", param=f"files.{self.file}"
        )


def given(files: Files, known: tuple[str, ...], pack: Path | None = None) -> Files:
    """The uploaded files; `pack` as the first of `known` where there are none. Raises InvalidInput for a name that is
    not known, or a file that is missing."""
    for name in files:
        if name not in known:
            raise InvalidInput(
                f"files: this suite has no file {name!r}; name it {' or '.join(known)}",
                param=f"files.{name}",
            )
    if not files and pack is None:
        raise InvalidInput(
            f"files: this suite needs a file {known[0]!r}; upload one (purpose evals) and name it",
            param=f"files.{known[0]}",
        )
    return files if files or pack is None else {known[0]: pack}


def of(file: str, path: Path, shape: type[S]) -> Iterator[tuple[Place, S]]:
    """Each line that is not empty. Raises InvalidInput, also for a file of nothing."""
    empty = True
    with path.open("rb") as opened:
        number = 0
        # One byte more than a line may have tells that it has too many.
        while raw := opened.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise TooLarge(
                    f"file {file!r}, line {number}: is over 1 MiB; write one question on each line",
                    param=f"files.{file}",
                )
            if raw.strip():
                empty = False
                yield Place(file, number), _checked(Place(file, number), raw, shape)
    if empty:
        raise Place(file, 1).wrong(
            "", "is missing: the file is empty; write one JSON object on each line"
        )


def _checked(place: Place, raw: bytes, shape: type[S]) -> S:
    # A byte order mark is an editor's, not the file's.
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    # No database keeps this one character in a text.
    if b"\0" in raw or b"\\u0000" in raw:
        raise place.wrong("", "holds a NUL character; take it out")
    try:
        return shape.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        problem = first["msg"][0].lower() + first["msg"][1:]
        if first["type"] == "json_invalid":
            raise place.wrong("", f"is not a JSON object in UTF-8: {problem}") from None
        if first["type"] == "missing":
            raise place.wrong(field, "is missing") from None
        if first["type"] == "extra_forbidden":
            known = ", ".join(shape.model_fields)
            raise place.wrong(field, f"is not known; the fields of a line are: {known}") from None
        shown = repr(first["input"])
        shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "..."
        raise place.wrong(field, f"is wrong: {problem}, not {shown}") from None
