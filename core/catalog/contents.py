"""What may be in an artefact: safetensors, text and tables, told by their names and by their bytes.

A pickle runs whatever its author wrote as it is loaded. So nothing that could be one is kept, whatever it is called.
"""

import codecs
from math import prod
from pathlib import Path
from typing import Any

import orjson

from core.catalog import headers
from core.catalog.headers import refused

TEXTS = (".json", ".jinja", ".txt")
WEIGHTS = (".safetensors", ".model")
TABLES = (".arrow", ".parquet")
# By the kind of the artefact.
KEPT = {
    "adapter": WEIGHTS + TEXTS,
    "model": WEIGHTS + TEXTS,
    "dataset": (*TABLES, ".json"),
}
# Files of these beginnings are refused under any name; torch.save has written zip archives since 1.6.
_LOADED_AS_CODE = {
    **{b"\x80" + bytes([protocol]): "a pickle" for protocol in range(2, 6)},
    b"PK\x03\x04": "a zip archive, as torch.save writes them",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x7fELF": "a program",
}
# Arrow's file format, and its stream format (what datasets writes).
_ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
# Parsed in memory; the largest tokenizer.json known has 35 MB.
MAX_JSON = 256 * 1024 * 1024
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def check(path: Path, name: str, kind: str) -> None:
    """Raises Refused when the file is none that an artefact of this kind may hold; `name` is for the message."""
    allowed = KEPT[kind]
    if path.suffix not in allowed:
        raise refused(name, f"not kept; an artefact of this kind holds {', '.join(allowed)} only")
    with path.open("rb") as file:
        head, size = file.read(8), path.stat().st_size
    for beginning, what in _LOADED_AS_CODE.items():
        # A header of that length would be beyond MAX_HEADER or end in an odd byte: no safetensors file begins so.
        if head.startswith(beginning) and path.suffix != ".safetensors":
            raise refused(name, f"{what}, which is never loaded; save it as safetensors")
    match path.suffix:
        case ".safetensors":
            check_safetensors(path, name)
        case ".json":
            _check_json(path, name, size)
        case ".jinja" | ".txt":
            _check_text(path, name)
        case ".model" if not head.startswith(b"\n"):
            # A SentencePiece model begins with its first piece; tiktoken's are lines of text.
            _check_text(path, name)
        case ".arrow" if not head.startswith(_ARROW):
            raise refused(name, "no Arrow file")
        case ".parquet" if not head.startswith(b"PAR1"):
            raise refused(name, "no Parquet file")


def check_safetensors(path: Path, name: str) -> None:
    """Eight bytes of length, that much JSON, and tensors that fill the rest without gap or overlap.

    Raises Refused, naming what is wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        for beginning, what in _LOADED_AS_CODE.items():
            if head.startswith(beginning):
                raise refused(name, f"{what}, not safetensors; it is never loaded")
    header, begin = headers.read(path, name)
    end = 0
    for start, stop, tensor in sorted(_span(name, key, one) for key, one in header.items()):
        if start != end:
            raise refused(name, f"tensor {tensor!r} overlaps its neighbour or leaves a gap")
        end = stop
    if end != size - begin:
        raise refused(name, f"its tensors end at byte {end} of {size - begin}: cut short or longer")


def _span(name: str, tensor: str, one: Any) -> tuple[int, int, str]:
    """First byte, the one after the last, and the tensor's name."""
    match one:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(stop)]} if (
            dtype in _BITS
            and all(type(n) is int and n >= 0 for n in shape)
            and 0 <= start <= stop
            and (stop - start) * 8 == prod(shape) * _BITS[dtype]
        ):
            return start, stop, tensor[:64]
    raise refused(name, f"tensor {tensor[:64]!r} has no shape, type and place that agree")


def _check_json(path: Path, name: str, size: int) -> None:
    if size > MAX_JSON:
        raise refused(name, f"JSON of {size} bytes; {MAX_JSON} is the most")
    try:
        orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise refused(name, "no valid JSON") from error


def _check_text(path: Path, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while piece := file.read(1024 * 1024):
                if b"\0" in piece:
                    raise refused(name, "no text: it holds a zero byte")
                decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise refused(name, "no text: it is not UTF-8") from error
