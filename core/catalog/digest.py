"""What a model is, as one digest of its files: the same name and folder may hold other weights tomorrow."""

import hashlib
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

# Weights, configuration, tokenizer and template: all that decides what a model says.
_DECIDES = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model"})


def digest_of(source: str) -> str:
    """SHA-256 in hexadecimal of the names and bytes of a model's files, wherever its folder is.

    `source`: a folder, or a hub id whose files are here already. Empty when they are not found. Reads every byte:
    about a second for each gigabyte.
    """
    folder = _folder(source)
    if folder is None:
        return ""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in _DECIDES and p.is_file()):
        whole.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _folder(source: str) -> Path | None:
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, ValueError):
        return None
