"""What comes out, as folders that `datasets.load_from_disk` maps into memory, and Parquet for sets of any use.

They are written with pyarrow alone: the form is that of Dataset.save_to_disk (tests/workers/data reads it back with
the library), but the same rows give the same bytes, where the library's fingerprint takes in the time.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

FILE = "data-00000-of-00001.arrow"
# Written at once: a batch of this many tokens or rows is in memory.
BATCH_TOKENS, BATCH_ROWS = 2**20, 4096

Column = Sequence[NDArray[Any]]


class Writer:
    """Rows of lists of integers; `types` of each column by its name. The folder is whole after `close`."""

    def __init__(self, folder: Path, types: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._types = types
        features = {
            name: {"feature": {"dtype": kind, "_type": "Value"}, "_type": "List"}
            for name, kind in types.items()
        }
        self._features = features
        told = {b"huggingface": orjson.dumps({"info": {"features": features}})}
        fields = [pa.field(name, pa.list_(pa.type_for_alias(kind))) for name, kind in types.items()]
        self._schema = pa.schema(fields, metadata=told)
        self._sink = pa.OSFile(str(folder / FILE), "wb")
        self._stream = pa.ipc.new_stream(self._sink, self._schema)
        self._held: list[tuple[NDArray[Any], ...]] = []
        self._size = 0

    def add(self, *row: NDArray[Any]) -> None:
        self._held.append(row)
        self._size += sum(map(len, row))
        if self._size >= BATCH_TOKENS or len(self._held) >= BATCH_ROWS:
            self._put()

    def _put(self) -> None:
        columns = [
            _lists([row[at] for row in self._held], self._schema.field(at).type)
            for at in range(len(self._types))
        ]
        self._stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._held, self._size = [], 0

    def close(self, fingerprint: str) -> None:
        """`fingerprint`: what stands for these rows in the library's caches."""
        if self._held:
            self._put()
        self._stream.close()
        self._sink.close()
        info = {
            "citation": "",
            "description": "",
            "features": self._features,
            "homepage": "",
            "license": "",
        }
        state: dict[str, Any] = {
            "_data_files": [{"filename": FILE}], "_fingerprint": fingerprint[:16], "_format_columns": None,
            "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None,
        }  # fmt: skip
        for name, value in (("dataset_info.json", info), ("state.json", state)):
            (self._folder / name).write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _lists(rows: Column, kind: pa.DataType) -> pa.Array:
    offsets = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    values = np.concatenate(rows) if rows else np.zeros(0)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values, type=kind.value_type), type=kind
    )


def parquet(path: Path, rows: Iterable[bytes]) -> None:
    """One column, `row`: each row in our own form as JSON, which sources.py reads again."""
    schema = pa.schema([("row", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batched(rows):
            strings = pa.array([row.decode() for row in batch], type=pa.string())
            writer.write_batch(pa.RecordBatch.from_arrays([strings], schema=schema))


def _batched(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row)
        if size >= BATCH_TOKENS or len(held) >= BATCH_ROWS:
            yield held
            held, size = [], 0
    if held:
        yield held
