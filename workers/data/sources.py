"""Every source as numbered rows: JSON lines, a JSON array, CSV, text, Parquet or Arrow, from a file or a hub."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from workers.data import lines, parsing
from workers.data.plan import Source
from workers.data.problems import Problems, whole

# Unpacked, of one file.
MAX_BYTES = 64 * 2**30
# A text file without blank lines is cut where a line ends, at about this many characters.
MAX_TEXT = 20_000
# Rows of a table that are in memory at once.
TABLE_ROWS = 256

# (line, value): lines of text files, rows of tables, from 1.
Numbered = tuple[int, Any]


class Reading:
    """One source's rows, and what was odd about it. Wrong rows go to `problems` and are left out."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self.source = source
        self.name = source.called
        self.problems = problems
        self.odd: Counter[str] = Counter()

    def rows(self) -> Iterator[Numbered]:
        """Raises Invalid for a source that cannot be read, or holds nothing."""
        path = Path(self.source.path or "")
        if not path.is_file():
            raise whole(self.name, "is not there", param=self.problems.param)
        if path.stat().st_size == 0:
            raise whole(
                self.name, "is empty; it must hold at least one row", param=self.problems.param
            )
        with path.open("rb") as file:
            head = file.read(8)
        suffixes = Path(self.name.lower()).suffixes
        if head.startswith(b"PAR1") or suffixes[-1:] == [".parquet"]:
            yield from self._table(_parquet(path))
        elif head.startswith(b"ARROW1") or suffixes[-1:] == [".arrow"]:
            yield from self._table(_arrow(path))
        else:
            yield from self._text(path, [s for s in suffixes if s != ".gz"])

    def _text(self, path: Path, suffixes: list[str]) -> Iterator[Numbered]:
        parts = lines.pieces(path, self.name, MAX_BYTES)
        texts = lines.texts(parts, self.name, self.problems, self.odd)
        if suffixes[-1:] == [".txt"]:
            yield from _documents(texts)
        elif suffixes[-1:] in ([".csv"], [".tsv"]):
            yield from self._csv(texts, "\t" if suffixes[-1] == ".tsv" else ",")
        else:
            yield from self._json(texts)

    def _json(self, texts: Iterator[tuple[int, str]]) -> Iterator[Numbered]:
        first = next(self._filled(texts), None)
        if first is None:
            return
        if first[1].lstrip().startswith("["):
            yield from self._array(chain([first], texts), first[0])
            return
        for number, text in chain([first], self._filled(texts)):
            try:
                yield number, parsing.parsed(text)
            except parsing.NotJson as error:
                self.problems.add(self.name, number, error.field, f"{error}{_hint(text)}")

    def _array(self, texts: Iterator[tuple[int, str]], first: int) -> Iterator[Numbered]:
        try:
            # The lines before the bracket are blank, and the count begins at 1.
            yield from ((n + first - 1, v) for n, v in parsing.elements(texts, lines.MAX_LINE))
        except parsing.NotJson as error:
            raise whole(self.name, str(error), param=self.problems.param) from error

    def _filled(self, texts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        for number, text in texts:
            if text.strip():
                yield number, text
            else:
                self.odd["blank_lines"] += 1

    def _csv(self, texts: Iterator[tuple[int, str]], delimiter: str) -> Iterator[Numbered]:
        csv.field_size_limit(lines.MAX_LINE)
        reader = csv.DictReader(
            (text + "\n" for _, text in texts), delimiter=delimiter, strict=True
        )
        begins = 2
        try:
            for row in reader:
                if None in row or None in row.values():
                    message = "has more or fewer fields than the first line has names"
                    self.problems.add(self.name, begins, "", message)
                else:
                    yield begins, dict(row)
                begins = reader.line_num + 1
        except csv.Error as error:
            self.problems.add(self.name, begins, "", f"is not CSV: {error}")

    def _table(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Numbered]:
        number = 0
        try:
            for batch in batches:
                stored = batch.schema.names == ["row"]
                for row in batch.to_pylist():
                    number += 1
                    # What a dataset job keeps: our own form as JSON (keeping.py).
                    yield number, orjson.loads(row["row"]) if stored else _clean(row)
        except (pa.ArrowInvalid, OSError, orjson.JSONDecodeError) as error:
            message = f"cannot be read as a table: {str(error).partition(chr(10))[0]}"
            raise whole(self.name, message, param=self.problems.param) from error


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=TABLE_ROWS)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    """Both of Arrow's file forms; `datasets` writes the streaming one."""
    with pa.OSFile(str(path), "rb") as file:
        try:
            opened = pa.ipc.open_file(file)
            batches: Iterable[pa.RecordBatch] = map(
                opened.get_batch, range(opened.num_record_batches)
            )
        except pa.ArrowInvalid:
            file.seek(0)
            batches = pa.ipc.open_stream(file)
        for batch in batches:
            for start in range(0, batch.num_rows, TABLE_ROWS):
                yield batch.slice(start, TABLE_ROWS)


def _clean(value: Any) -> Any:
    """Without the nothings that a table puts where other rows have a field."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if v is not None}
    return [_clean(v) for v in value] if isinstance(value, list) else value


def _documents(texts: Iterator[tuple[int, str]]) -> Iterator[Numbered]:
    """A text file's documents: what stands between blank lines, cut at line ends when it is long."""
    held: list[str] = []
    begins = size = 0
    for number, text in texts:
        if held and (not text.strip() or size + len(text) > MAX_TEXT):
            yield begins, {"text": "\n".join(held)}
            held, size = [], 0
        if text.strip():
            begins = begins if held else number
            held.append(text)
            size += len(text) + 1
    if held:
        yield begins, {"text": "\n".join(held)}


def _hint(text: str) -> str:
    if text.strip() in ("{", "}", "},"):
        return "; each line must hold one whole row, so write the object on one line"
    return ""
