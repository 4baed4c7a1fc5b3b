"""Artefacts: files known by one digest, kept in the store and fetched from it with every byte checked.

The digest is the SHA-256 of the sorted lines "path\\0sha256\\n" of the files. Each `keep` writes under a place
of its own, and the row that wins says which: so collecting an artefact can never take the bytes of a `keep`
that is under way (docs/decisions/0016).
"""

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog.contents import check
from core.catalog.tables import ArtifactRow
from core.errors import NotFound, Refused
from core.ids import new_id
from core.storage.seam import PIECE, Storage

Kind = Literal["adapter", "model", "dataset"]
KEYS = "artifacts"
MAX_FILES = 10_000
# Beside the digests; a process that is killed leaves one.
UNFINISHED = ".fetching-"
ABANDONED_S = 24 * 3600.0


class ArtifactBroken(Refused):
    """What is in the store is not what was kept."""

    code = "artifact_broken"


class Entry(NamedTuple):
    """A file of an artefact: its path inside, in POSIX spelling."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """`place`: where its bytes are in the store."""

    digest: str
    kind: Kind
    files: tuple[Entry, ...]
    place: str

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def key(self, file: Entry) -> str:
        return f"{KEYS}/{self.place}_{file.sha256}"

    def keys(self) -> list[str]:
        return sorted({self.key(file) for file in self.files})


def place_of(key: str) -> str:
    """Where in the store the bytes under a key belong: Artifact.place."""
    return key.rpartition("/")[2].rpartition("_")[0]


def digest_of_files(files: Sequence[Entry]) -> str:
    """The artefact's name for its content: the same files at the same paths, wherever they are."""
    lines = sorted(f"{file.path}\0{file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


async def keep(storage: Storage, folder: Path, kind: Kind) -> Artifact:
    """Write a folder's files into the store; durable on return, an artefact once `add` has made its row.

    Raises Refused for a file that no such artefact may hold (core/catalog/contents.py), Unavailable.
    """
    files = await asyncio.to_thread(_measured, folder, kind)
    artifact = Artifact(digest_of_files(files), kind, files, new_id("art"))
    written = set()
    for file in files:
        if file.sha256 in written:
            continue
        stored = await storage.write(artifact.key(file), _read(folder / file.path))
        if stored.sha256 != file.sha256:
            await storage.delete(artifact.key(file))
            raise Refused(
                f"{file.path} changed while it was kept: its SHA-256 was {file.sha256} and is {stored.sha256}"
            )
        written.add(file.sha256)
    return artifact


async def add(session: AsyncSession, artifact: Artifact) -> Artifact:
    """The row of an artefact that was kept; the one that is there already when it was kept before.

    Locked until the transaction ends: what is about to be referenced is not collected meanwhile.
    """
    row = {
        "digest": artifact.digest,
        "kind": artifact.kind,
        "place": artifact.place,
        "files": [file._asdict() for file in artifact.files],
        "bytes": artifact.bytes,
    }
    while True:
        await session.execute(insert(ArtifactRow).values(row).on_conflict_do_nothing())
        # None: the row that was in the way is collected since, and ours can be made.
        if (found := await find(session, artifact.digest, lock=True)) is not None:
            return found


async def find(session: AsyncSession, digest: str, *, lock: bool = False) -> Artifact | None:
    """None when there is no such artefact, or it was collected. `lock`: until the transaction ends."""
    query = select(ArtifactRow).where(ArtifactRow.digest == digest)
    row = await session.scalar(query.with_for_update(key_share=True, read=True) if lock else query)
    return None if row is None else of(row)


async def get(session: AsyncSession, digest: str) -> Artifact:
    """Raises NotFound as `find` finds none."""
    found = await find(session, digest)
    if found is None:
        raise NotFound(
            f"There is no artefact {digest}: it was collected, or never kept.",
            code="artifact_missing",
        )
    return found


def of(row: ArtifactRow) -> Artifact:
    kind: Kind = row.kind  # type: ignore[assignment]  # the table's check says so
    return Artifact(row.digest, kind, tuple(Entry(**file) for file in row.files), row.place)


async def fetch(storage: Storage, artifact: Artifact, into: Path) -> Path:
    """The folder `into`/<digest> with the artefact's files, each byte checked, whole or not there at all.

    A folder that is there is checked and used again; one that was changed is fetched anew. Raises
    ArtifactBroken naming file, expected and found digest, or the file that is missing; Unavailable.
    """
    target = into / artifact.digest
    if target.is_dir():
        if await asyncio.to_thread(_difference, target, artifact) is None:
            return target
        await asyncio.to_thread(shutil.rmtree, target)
    unfinished = await asyncio.to_thread(_aside, into)
    try:
        for file in artifact.files:
            await _fetch_one(storage, artifact, file, unfinished)
        await asyncio.to_thread(_publish, unfinished, target)
    finally:
        # Gone already unless something went wrong, or another process was first.
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
    if difference := await asyncio.to_thread(_difference, target, artifact):
        raise ArtifactBroken(difference)
    return target


async def _fetch_one(storage: Storage, artifact: Artifact, file: Entry, into: Path) -> None:
    path = into / _safe(file.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    try:
        with path.open("wb") as target:
            async for piece in storage.read(artifact.key(file)):
                await asyncio.to_thread(target.write, piece)
                await asyncio.to_thread(found.update, piece)
    except NotFound as error:
        raise ArtifactBroken(
            f"{file.path} of artefact {artifact.digest} is missing from the store (SHA-256 {file.sha256})"
        ) from error
    if found.hexdigest() != file.sha256:
        raise ArtifactBroken(_differs(artifact, file, found.hexdigest()))


def _aside(into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    for left in into.glob(f"{UNFINISHED}*"):
        # Another process may be taking it away, too.
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=into))


def _publish(unfinished: Path, target: Path) -> None:
    try:
        unfinished.rename(target)
    except OSError:
        # Another process was first; what it left is checked like ours.
        if not target.is_dir():
            raise


def _difference(folder: Path, artifact: Artifact) -> str | None:
    """What differs between a folder and the artefact, in one sentence."""
    for file in artifact.files:
        path = folder / _safe(file.path)
        if not path.is_file():
            return f"{file.path} of artefact {artifact.digest} is missing (SHA-256 {file.sha256})"
        found = sha256_of(path)
        if found != file.sha256:
            return _differs(artifact, file, found)
    known = {file.path for file in artifact.files}
    for path in _files(folder):
        if path.relative_to(folder).as_posix() not in known:
            return f"{path.relative_to(folder)} is no file of artefact {artifact.digest}"
    return None


def _differs(artifact: Artifact, file: Entry, found: str) -> str:
    return (
        f"{file.path} of artefact {artifact.digest} is broken: "
        f"expected SHA-256 {file.sha256}, found {found}"
    )


def _measured(folder: Path, kind: Kind) -> tuple[Entry, ...]:
    paths = _files(folder)
    if not paths:
        raise Refused(f"{folder.name} holds no files", code="artifact_refused")
    if len(paths) > MAX_FILES:
        raise Refused(f"{folder.name} holds more than {MAX_FILES} files", code="artifact_refused")
    entries = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise Refused(f"{name}: no plain file", param=name, code="artifact_refused")
        check(path, name, kind)
        entries.append(Entry(name, path.stat().st_size, sha256_of(path)))
    return tuple(entries)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe(path: str) -> PurePosixPath:
    """Rows are ours; this is what keeps them so."""
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts:
        raise ValueError(f"not a path inside an artefact: {path!r}")
    return plain


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece
