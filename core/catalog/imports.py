"""Adapters that users bring: two files of theirs, looked at as closely as code would be, and a version of them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from core.catalog import headers
from core.catalog.contents import check
from core.catalog.headers import refused
from core.errors import InvalidInput
from core.files.service import key_of
from core.files.tables import File
from core.storage.seam import Storage

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAMES = (CONFIG, WEIGHTS)
MAX_RANK = 512
# How PEFT names what it puts on a model.
_PREFIX = "base_model.model."
# What an engine that serves many adapters at once cannot apply; PEFT writes all of them as off.
_OFF: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "modules_to_save": (None, []),
    "bias": (None, "none"),
    "trainable_token_indices": (None,),
}


def check_names(files: Mapping[str, str]) -> None:
    """Raises InvalidInput for any other files than an adapter has."""
    if set(files) != set(NAMES):
        raise InvalidInput(
            f"files must name {' and '.join(NAMES)}, as PEFT's save_pretrained writes them, and no others",
            param="files",
        )


def check_size(files: Mapping[str, File], limit: int) -> None:
    """Raises InvalidInput."""
    total = sum(file.bytes for file in files.values())
    if total > limit:
        raise InvalidInput(f"files have {total} bytes together; {limit} is the most", param="files")


async def bring(storage: Storage, files: Mapping[str, File], folder: Path) -> None:
    """Write the files into a folder, under the names of an adapter's. Raises NotFound, Unavailable."""
    for name, file in files.items():
        with (folder / name).open("wb") as target:
            async for piece in storage.read(key_of(file.id)):
                await asyncio.to_thread(target.write, piece)


def check_adapter(folder: Path, base: Path) -> None:
    """Raises Refused unless these are a LoRA adapter's files that fit the model in `base`.

    An engine would find out as it loads them, together with everybody it answers meanwhile.
    """
    for name in NAMES:
        check(folder / name, name, "adapter")
    rank = _rank(orjson.loads((folder / CONFIG).read_bytes()))
    found = headers.shapes(folder)
    on = headers.shapes(base.expanduser())
    if not on:
        raise refused(WEIGHTS, "the API does not see the base's weights, and so cannot check it")
    if not found:
        raise refused(WEIGHTS, "it holds no tensors")
    for tensor in found:
        _check_pair(tensor, found, on, rank)


def _rank(config: Any) -> int:
    match config:
        case {"peft_type": "LORA", "r": int(rank)} if 1 <= rank <= MAX_RANK:
            pass
        case _:
            raise refused(CONFIG, f"peft_type must be LORA, and r a number from 1 to {MAX_RANK}")
    for name, off in _OFF.items():
        if config.get(name) not in off:
            raise refused(CONFIG, f"{name} is not supported; train without it")
    return rank


def _check_pair(
    tensor: str, found: Mapping[str, list[int]], on: Mapping[str, list[int]], rank: int
) -> None:
    """A tensor, its other half, and the weight that both are put on."""
    module, dot, half = tensor.removeprefix(_PREFIX).partition(".lora_")
    shape = on.get(f"{module}.weight")
    if not tensor.startswith(_PREFIX) or not dot or half not in ("A.weight", "B.weight"):
        raise refused(WEIGHTS, f"{tensor[:128]!r} is no LoRA tensor of a linear layer")
    if shape is None or len(shape) != 2:
        raise refused(WEIGHTS, f"{tensor[:128]!r} is for a layer that the base does not have")
    out, into = shape
    wanted = [rank, into] if half == "A.weight" else [out, rank]
    if found[tensor] != wanted:
        raise refused(
            WEIGHTS, f"{tensor[:128]!r} has shape {found[tensor]}, the base needs {wanted}"
        )
    other = f"{_PREFIX}{module}.lora_{'B' if half == 'A.weight' else 'A'}.weight"
    if other not in found:
        raise refused(WEIGHTS, f"{other[:128]!r} is missing")
