"""Bytes as numbered lines of text, with what is odd about them counted or told."""

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from workers.data.problems import Problems, whole

# A row longer than this is a mistake: a file without line ends, or not text at all.
MAX_LINE = 16 * 2**20
PIECE = 2**20
BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def opened(path: Path) -> BinaryIO:
    """A file, unpacked when it is gzip's, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def pieces(path: Path, name: str, limit: int) -> Iterator[bytes]:
    """Raises Invalid for a file of more than `limit` bytes unpacked, or one whose packing is broken."""
    size = 0
    try:
        with opened(path) as file:
            while piece := file.read(PIECE):
                size += len(piece)
                if size > limit:
                    raise whole(name, f"has more than {limit} bytes unpacked; split it")
                yield piece
    except (EOFError, gzip.BadGzipFile) as error:
        raise whole(name, f"is broken gzip ({error}); pack and upload it again") from error


def raw(parts: Iterator[bytes]) -> Iterator[bytes | None]:
    """Each line without its end, None for one over MAX_LINE."""
    rest, skipping = bytearray(), False
    for piece in parts:
        at = 0
        while (end := piece.find(b"\n", at)) >= 0:
            rest += piece[at:end]
            yield None if skipping or len(rest) > MAX_LINE else bytes(rest)
            at, skipping = end + 1, False
            rest.clear()
        rest += piece[at:]
        if len(rest) > MAX_LINE:
            skipping = True
            rest.clear()
    if rest or skipping:
        yield None if skipping else bytes(rest)


def texts(
    parts: Iterator[bytes], name: str, problems: Problems, odd: Counter[str]
) -> Iterator[tuple[int, str]]:
    """(number, line) of all lines, blank ones too; wrong ones are told of and left out.

    A byte order mark at the start and carriage returns at line ends are taken off and counted in `odd`.
    """
    for number, line in enumerate(raw(parts), 1):
        if line is None:
            problems.add(
                name, number, "", f"has more than {MAX_LINE} bytes; put one row on each line"
            )
            continue
        if number == 1:
            if line.startswith(_UTF16):
                raise whole(name, "is UTF-16; save it as UTF-8", param=problems.param)
            if line.startswith(BOM):
                odd["bom"] += 1
        odd["crlf"] += line.endswith(b"\r")
        try:
            text = line.removeprefix(BOM if number == 1 else b"").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            problems.add(
                name,
                number,
                "",
                f"is not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8",
            )
            continue
        if "\0" in text:
            problems.add(name, number, "", "holds a NUL character; take it out")
            continue
        yield number, text
