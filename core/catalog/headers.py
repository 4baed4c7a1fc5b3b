"""Safetensors headers: which tensors a file holds, without reading any of them."""

from pathlib import Path
from typing import Any

import orjson

from core.errors import Refused

# A header of the largest models known has a few MiB; safetensors itself allows 100 MB.
MAX_HEADER = 100_000_000


def read(path: Path, name: str) -> tuple[dict[str, Any], int]:
    """The tensors of a file by their names, and at which byte they begin. Raises Refused: it is none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > min(MAX_HEADER, size - 8):
            raise refused(name, "no safetensors file: its header does not fit into it")
        raw = file.read(length)
    try:
        header = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refused(name, "no safetensors file: its header is no JSON") from error
    if not isinstance(header, dict):
        raise refused(name, "no safetensors file: its header is no JSON object")
    header.pop("__metadata__", None)
    return header, 8 + length


def shapes(folder: Path) -> dict[str, list[int]]:
    """Of every tensor of a model's folder. Raises Refused."""
    return {
        tensor: one["shape"]
        for path in sorted(folder.glob("*.safetensors"))
        for tensor, one in read(path, path.name)[0].items()
    }


def refused(name: str, why: str) -> Refused:
    return Refused(f"{name}: {why}", param=name, code="artifact_refused")
