"""Artefacts: only what is no code is kept, one digest for the same files, and every byte checked as it comes back."""

import asyncio
import hashlib
import io
import os
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog import artifacts
from core.catalog.artifacts import Artifact, ArtifactBroken, Entry, fetch, keep
from core.catalog.contents import check, check_safetensors
from core.catalog.headers import MAX_HEADER
from core.config import MODEL_FOLDER, Settings
from core.db.session import Database
from core.errors import Refused, Unavailable
from core.storage.place import storage_of
from core.storage.seam import Storage, Stored
from tests.core.cataloguing import adapter, safetensors
from tests.fakes.s3 import S3Server


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return storage_of(Settings(_env_file=None, storage_url=str(tmp_path / "store")))
    s3: S3Server = request.getfixturevalue("s3")
    return storage_of(s3.settings(f"p{os.getpid()}{tmp_path.name}"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def local(store: Path) -> Storage:
    return storage_of(Settings(_env_file=None, storage_url=str(store)))


def kept_in(store: Path) -> list[str]:
    return [path.name for path in store.rglob("art_*")]


async def test_what_is_kept_is_fetched_byte_for_byte(storage: Storage, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "out")
    (folder / "deep").mkdir()
    (folder / "deep" / "chat_template.jinja").write_text("{{ messages }}")
    kept = await keep(storage, folder, "adapter")
    assert {f.path for f in kept.files} == {
        "adapter_config.json", "adapter_model.safetensors", "deep/chat_template.jinja",
    }  # fmt: skip
    found = await fetch(storage, kept, tmp_path / "in")
    assert found.name == kept.digest
    for file in kept.files:
        assert (found / file.path).read_bytes() == (folder / file.path).read_bytes()
    assert [p.name for p in (tmp_path / "in").iterdir()] == [kept.digest], "nothing is left beside"


async def test_the_digest_is_that_of_paths_and_contents_alone(
    local: Storage, tmp_path: Path
) -> None:
    first = await keep(local, adapter(tmp_path / "a"), "adapter")
    again = await keep(local, adapter(tmp_path / "elsewhere"), "adapter")
    other = await keep(local, adapter(tmp_path / "b", bytes(4)), "adapter")
    assert (first.digest, first.files) == (again.digest, again.files)
    assert other.digest != first.digest
    moved = adapter(tmp_path / "c")
    (moved / "adapter_config.json").rename(moved / "config.json")
    assert (await keep(local, moved, "adapter")).digest != first.digest
    # As the page says it, so that anybody can compute it.
    lines = sorted(f"{f.path}\0{f.sha256}\n" for f in first.files)
    assert first.digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({"w": 1}))
    return made.getvalue()


_PICKLE = pickle.dumps({"w": [1.0] * 100})
_BAD: list[tuple[str, bytes, str]] = [
    ("model.bin", safetensors(), "not kept"),
    ("model.pt", _PICKLE, "not kept"),
    ("model.pkl", _PICKLE, "not kept"),
    ("README.md", b"# text", "not kept"),
    ("run.py", b"print()", "not kept"),
    ("model.safetensors", _PICKLE, "a pickle"),
    ("model.safetensors", _zip(), "a zip archive"),
    ("model.safetensors", b"", "header does not fit"),
    ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}", "header does not fit"),
    ("model.safetensors", (MAX_HEADER + 1).to_bytes(8, "little") + bytes(64), "header does not fit"),
    ("model.safetensors", b"\x02\0\0\0\0\0\0\0[]", "no JSON object"),
    ("model.safetensors", b"\x02\0\0\0\0\0\0\0{{", "no JSON"),
    ("model.safetensors", safetensors() + b"x", "end at byte 8 of 9"),
    ("model.safetensors", safetensors()[:-1], "end at byte 8 of 7"),
    ("tokenizer.model", _PICKLE, "a pickle"),
    ("tokenizer.model", b"\x01\xff", "not UTF-8"),
    ("config.json", b"{'a': 1}", "no valid JSON"),
    ("config.json", _PICKLE, "a pickle"),
    ("config.json", pickle.dumps({"w": 1}, protocol=0), "no valid JSON"),
    ("vocab.txt", b"a\0b", "zero byte"),
    ("vocab.txt", b"\xff\xfe", "not UTF-8"),
    ("template.jinja", _zip(), "a zip archive"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "why"), _BAD, ids=lambda v: str(v)[:24])
async def test_what_could_be_code_is_refused_under_any_name(
    local: Storage, store: Path, tmp_path: Path, name: str, data: bytes, why: str
) -> None:
    folder = adapter(tmp_path / "out")
    (folder / name).write_bytes(data)
    with pytest.raises(Refused, match=why) as refused:
        await keep(local, folder, "adapter")
    assert refused.value.param == name
    assert refused.value.code == "artifact_refused"
    assert not kept_in(store), "nothing of it is kept"


@pytest.mark.parametrize(
    "one",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "OBJECT", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2]},
        "w",
        None,
    ],
)
def test_a_tensor_must_be_where_its_shape_and_type_say(tmp_path: Path, one: object) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors(header={"w": one}))
    with pytest.raises(Refused, match=r"agree|end at byte"):
        check_safetensors(path, path.name)


@pytest.mark.parametrize("second", [[4, 8], [0, 4], [12, 16]])
def test_tensors_neither_overlap_nor_leave_a_gap(tmp_path: Path, second: list[int]) -> None:
    path = tmp_path / "m.safetensors"
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": second},
    }
    path.write_bytes(safetensors(bytes(16), header))
    with pytest.raises(Refused, match="overlaps its neighbour or leaves a gap"):
        check_safetensors(path, path.name)


@given(data=st.binary(max_size=200))
def test_no_bytes_whatever_are_more_than_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(data)
    try:
        check_safetensors(path, path.name)
    except Refused:
        return
    assert len(data) >= 10, "only what has a header is taken"


def test_the_shipped_model_and_tables_are_taken(tmp_path: Path) -> None:
    for path in MODEL_FOLDER.iterdir():
        if path.suffix in (".safetensors", ".json"):
            check(path, path.name, "model")
    for name, data in (("a.arrow", b"\xff\xff\xff\xff...."), ("b.parquet", b"PAR1..PAR1")):
        (tmp_path / name).write_bytes(data)
        check(tmp_path / name, name, "dataset")
        with pytest.raises(Refused, match="not kept"):
            check(tmp_path / name, name, "model")
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(Refused, match=f"no {'Arrow' if name == 'a.arrow' else 'Parquet'} file"):
            check(tmp_path / name, name, "dataset")


@pytest.mark.parametrize("kind", ["link", "empty"])
async def test_a_folder_holds_plain_files(local: Storage, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    if kind == "link":
        (folder / "a.json").symlink_to(Path(__file__))
    with pytest.raises(Refused, match="no plain file" if kind == "link" else "holds no files"):
        await keep(local, folder, "adapter")


async def test_a_broken_file_is_refused_with_both_digests(
    local: Storage, store: Path, tmp_path: Path
) -> None:
    kept = await keep(local, adapter(tmp_path / "out"), "adapter")
    weights = next(f for f in kept.files if f.path.endswith(".safetensors"))
    path = store / kept.key(weights)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactBroken) as broken:
        await fetch(local, kept, tmp_path / "in")
    for named in (weights.path, kept.digest, weights.sha256, artifacts.sha256_of(path)):
        assert named in broken.value.message
    assert not list((tmp_path / "in").iterdir()), "half of it is not there"
    path.unlink()
    with pytest.raises(ArtifactBroken, match=r"adapter_model.safetensors .* is missing") as missing:
        await fetch(local, kept, tmp_path / "in")
    assert weights.sha256 in missing.value.message


@pytest.mark.parametrize("change", ["other byte", "file gone", "file more"])
async def test_a_folder_that_was_changed_is_fetched_anew(
    local: Storage, tmp_path: Path, change: str
) -> None:
    kept = await keep(local, adapter(tmp_path / "out"), "adapter")
    found = await fetch(local, kept, tmp_path / "in")
    config = found / "adapter_config.json"
    before = config.stat().st_ino
    assert await fetch(local, kept, tmp_path / "in") == found
    assert config.stat().st_ino == before, "a whole folder is used again"
    match change:
        case "other byte":
            config.write_text('{"r": 17}')
        case "file gone":
            config.unlink()
        case _:
            (found / "more.json").write_text("{}")
    assert await fetch(local, kept, tmp_path / "in") == found
    assert config.read_text() == '{"r": 16}'
    assert not (found / "more.json").exists()


async def test_many_fetch_at_once_and_all_find_it_whole(local: Storage, tmp_path: Path) -> None:
    kept = await keep(local, adapter(tmp_path / "out", bytes(4_000_000)), "adapter")
    found = await asyncio.gather(*(fetch(local, kept, tmp_path / "in") for _ in range(5)))
    assert len(set(found)) == 1
    assert [p.name for p in (tmp_path / "in").iterdir()] == [kept.digest]


class Cut:
    """A store that goes away after so many bytes of each read."""

    def __init__(self, inner: Storage, after: int) -> None:
        self._inner, self._after = inner, after

    async def read(self, key: str) -> AsyncIterator[bytes]:
        async for piece in self._inner.read(key, 0, self._after):
            yield piece
        raise Unavailable("away")

    def __getattr__(self, name: str) -> Callable[..., object]:
        found: Callable[..., object] = getattr(self._inner, name)
        return found


async def test_what_a_killed_fetch_left_goes_with_a_later_one(
    local: Storage, tmp_path: Path
) -> None:
    kept = await keep(local, adapter(tmp_path / "out"), "adapter")
    old, young = [tmp_path / "in" / f"{artifacts.UNFINISHED}{n}" for n in ("old", "young")]
    for folder in (old, young):
        adapter(folder)
    then = time.time() - artifacts.ABANDONED_S - 60
    os.utime(old, (then, then))
    await fetch(local, kept, tmp_path / "in")
    assert {p.name for p in (tmp_path / "in").iterdir()} == {kept.digest, young.name}


async def test_a_store_that_goes_away_leaves_nothing_half(local: Storage, tmp_path: Path) -> None:
    kept = await keep(local, adapter(tmp_path / "out"), "adapter")
    cut: Storage = Cut(local, 5)  # type: ignore[assignment]  # the rest is the store's own
    with pytest.raises(Unavailable):
        await fetch(cut, kept, tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


async def test_memory_does_not_grow_with_the_size(local: Storage, tmp_path: Path) -> None:
    size = 48 * 1024 * 1024
    folder = adapter(tmp_path / "out", bytes(size))
    tracemalloc.start()
    try:
        kept = await keep(local, folder, "adapter")
        await fetch(local, kept, tmp_path / "in")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.bytes > size
    # A few pieces of PIECE bytes, never the file.
    assert peak < 12 * 1024 * 1024


async def test_a_file_that_changes_under_keep_is_refused(local: Storage, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "out")

    class Late:
        async def write(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
            (folder / "adapter_config.json").write_text('{"r": 99}')
            return await local.write(key, chunks)

        async def delete(self, *keys: str) -> None:
            await local.delete(*keys)

    late: Storage = Late()  # type: ignore[assignment]  # all that keep asks of it
    with pytest.raises(Refused, match=r"adapter_config.json changed while it was kept"):
        await keep(late, folder, "adapter")


def test_a_path_leads_nowhere_else(tmp_path: Path) -> None:
    for path in ("/etc/passwd", "../up.json", "a/../../up.json"):
        evil = Artifact("0" * 64, "adapter", (Entry(path, 1, "0" * 64),), "art_x")
        with pytest.raises(ValueError, match="not a path inside"):
            artifacts._difference(tmp_path, evil)


async def test_two_keeps_of_the_same_files_are_one_artefact(
    database: Database, local: Storage, store: Path, tmp_path: Path
) -> None:
    first, second = [await keep(local, adapter(tmp_path / n), "adapter") for n in ("a", "b")]
    async with database.begin() as session:
        one = await artifacts.add(session, first)
        two = await artifacts.add(session, second)
        assert one == two == first
        assert await artifacts.get(session, first.digest) == first
    assert len(kept_in(store)) == 4, "the second's bytes are for the sweep"
