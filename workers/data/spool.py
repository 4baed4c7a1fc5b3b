"""Rows on disk between two stages: each once, as JSON whose names are sorted, with where it came from."""

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from workers.data.conversation import Row


class Place(NamedTuple):
    """Where a row came from: `file` is an index into the sources."""

    file: int
    line: int


class Spool:
    """Written once, then read in order any number of times. Ten bytes a row are in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._files = array("H")
        self._lines = array("Q")

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, canonical: bytes, place: Place) -> None:
        self._file.write(canonical + b"\n")
        self._files.append(place.file)
        self._lines.append(place.line)

    def place(self, number: int) -> Place:
        return Place(self._files[number], self._lines[number])

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """(number, row as JSON), from 0."""
        self._file.flush()
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                yield number, line[:-1]

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def canonical(row: Row) -> bytes:
    """The one way to write a row; what digests are made of."""
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)


def short_digest(data: bytes) -> int:
    """64 bits, to find equal rows: of ten million, two that differ agree with a chance of one in 400,000."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
