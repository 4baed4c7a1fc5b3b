"""A worker's adapters: fetched, verified, loaded once for all, never let go while used, and waited for in turn."""

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from core.catalog import artifacts
from core.catalog.artifacts import Artifact, ArtifactBroken
from core.config import Settings
from core.db.session import Database
from core.errors import Refused, Unavailable
from core.ids import new_id
from core.storage.folder import Folder
from core.storage.seam import Storage
from tests.core.cataloguing import adapter
from tests.fakes.engine import ScriptedEngine
from tests.waiting import eventually
from workers.adapters import Adapters
from workers.engine import AdapterBroken


class Shop:
    """A worker's adapters with everything around them; `count` places in the engine."""

    def __init__(self, database: Database, folder: Path, count: int = 2, gb: float = 1.0) -> None:
        self.database, self.folder = database, folder
        self.settings = Settings(
            _env_file=None,
            engine_loras=count,
            adapter_dir=str(folder / "copies"),
            adapter_dir_gb=gb,
        )
        self.storage: Storage = Folder(folder / "files")
        self.engine = ScriptedEngine(self.settings)
        self.adapters = Adapters(self.engine, self.settings, database, self.storage)

    async def made(self, more: bytes = b"") -> Artifact:
        """An artefact as the catalog keeps it, unlike any other."""
        folder = adapter(self.folder / new_id("a"), os.urandom(8) + more)
        artifact = await artifacts.keep(self.storage, folder, "adapter")
        async with self.database.begin() as session:
            return await artifacts.add(session, artifact)

    def copy(self, artifact: Artifact) -> Path:
        return Path(self.settings.adapter_dir) / artifact.digest

    async def kept(self, artifact: Artifact) -> Path:
        """The bytes of its weights in the store."""
        file = next(f for f in artifact.files if f.path.endswith(".safetensors"))
        return self.folder / "files" / artifact.key(file)


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> Shop:
    return Shop(database, tmp_path)


async def test_first_requests_at_once_share_one_load(shop: Shop) -> None:
    one = await shop.made()

    async def use() -> list[str]:
        async with shop.adapters.held(one.digest):
            return list(shop.engine.adapters)

    assert await asyncio.gather(*(use() for _ in range(20))) == [[one.digest]] * 20
    assert shop.engine.loads == [one.digest]
    await use()
    assert shop.engine.loads == [one.digest], "it stays for the next"


async def test_no_adapter_is_no_place(shop: Shop) -> None:
    async with shop.adapters.held(""):
        assert shop.adapters.loaded == []


async def test_the_least_recently_used_goes_and_none_that_is_used(shop: Shop) -> None:
    a, b, c = [await shop.made() for _ in range(3)]
    async with shop.adapters.held(a.digest):
        async with shop.adapters.held(b.digest):
            pass
        async with shop.adapters.held(c.digest):
            assert set(shop.engine.adapters) == {a.digest, c.digest}, (
                "b was idle, a is older but used"
            )
    async with shop.adapters.held(b.digest):
        assert set(shop.engine.adapters) == {b.digest, c.digest}, "a was used longest ago"
    assert shop.engine.loads == [a.digest, b.digest, c.digest, b.digest]


async def test_who_finds_no_room_waits_in_turn(shop: Shop) -> None:
    a, b, c, d = [await shop.made() for _ in range(4)]
    order: list[str] = []

    async def use(digest: str) -> None:
        async with shop.adapters.held(digest):
            order.append(digest)

    async with AsyncExitStack() as first, AsyncExitStack() as second:
        await first.enter_async_context(shop.adapters.held(a.digest))
        await second.enter_async_context(shop.adapters.held(b.digest))
        waiting = [asyncio.create_task(use(one.digest)) for one in (c, d, a)]
        # Loads of others are under way or not: nobody is let in before there is room.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.shield(waiting[2])
        assert order == [], "not even one whose adapter is there: a popular one keeps nobody out"
        waiting[1].cancel()
        await first.aclose()
        await asyncio.gather(waiting[0], waiting[2])
        assert order == [c.digest, a.digest]
    assert waiting[1].cancelled()
    await use(d.digest)
    assert order[-1] == d.digest


async def test_leaving_takes_no_load_along_and_holds_no_place(shop: Shop) -> None:
    a, b, c = [await shop.made() for _ in range(3)]

    async def placed(digest: str) -> bool:
        return digest in shop.adapters.loaded

    for artifact in (a, b, c):
        task = asyncio.create_task(shop.adapters.held(artifact.digest).__aenter__())
        await eventually(partial(placed, artifact.digest), "a place")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with shop.adapters.held(c.digest), shop.adapters.held(a.digest):
        assert set(shop.engine.adapters) == {a.digest, c.digest}


async def _true(value: bool) -> bool:
    return value


@pytest.mark.parametrize("how", ["changed", "missing"])
async def test_a_broken_artefact_is_refused_by_its_digest(shop: Shop, how: str) -> None:
    good, bad = await shop.made(), await shop.made()
    path = await shop.kept(bad)
    if how == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    else:
        path.unlink()
    expected = next(f.sha256 for f in bad.files if f.path.endswith(".safetensors"))
    async with shop.adapters.held(good.digest):
        for _ in range(2):
            with pytest.raises(ArtifactBroken, match=expected) as refused:
                async with shop.adapters.held(bad.digest):
                    raise AssertionError("it was let in")
            assert bad.digest in refused.value.message
            assert refused.value.code == "artifact_broken"
        assert list(shop.engine.adapters) == [good.digest]


async def test_one_that_is_not_there_at_all_is_broken_too(shop: Shop) -> None:
    with pytest.raises(ArtifactBroken, match="f" * 64):
        async with shop.adapters.held("f" * 64):
            raise AssertionError("it was let in")


async def test_an_adapter_the_engine_cannot_apply_takes_no_place(shop: Shop) -> None:
    bad, good = await shop.made(b"broken!!"), await shop.made()
    with pytest.raises(AdapterBroken, match=bad.digest[:12]):
        async with shop.adapters.held(bad.digest):
            raise AssertionError("it was let in")
    async with shop.adapters.held(good.digest):
        assert shop.adapters.loaded == [good.digest]


async def test_a_store_that_is_away_is_tried_again(shop: Shop) -> None:
    one = await shop.made()
    away = shop.folder / "files"
    away.rename(shop.folder / "gone")
    away.write_text("in the way")
    with pytest.raises(Unavailable):
        async with shop.adapters.held(one.digest):
            raise AssertionError("it was let in")
    away.unlink()
    (shop.folder / "gone").rename(away)
    async with shop.adapters.held(one.digest):
        assert shop.engine.loads == [one.digest]


async def test_a_copy_that_was_changed_is_fetched_anew(shop: Shop, database: Database) -> None:
    one = await shop.made()
    async with shop.adapters.held(one.digest):
        pass
    weights = shop.copy(one) / "adapter_model.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(b"broken")
    again = Adapters(ScriptedEngine(shop.settings), shop.settings, database, shop.storage)
    async with again.held(one.digest):
        assert weights.read_bytes() == right


async def test_copies_are_bounded_and_leftovers_go(database: Database, tmp_path: Path) -> None:
    """Room for two of 1 kB: the third takes the place of the one used longest ago."""
    shop = Shop(database, tmp_path, count=1, gb=2600 / 2**30)
    left = Path(shop.settings.adapter_dir) / ".fetching-killed"
    left.mkdir(parents=True)
    made = [await shop.made(bytes(1000)) for _ in range(3)]
    for artifact in made:
        async with shop.adapters.held(artifact.digest):
            pass
    await eventually(
        lambda: _true([shop.copy(a).is_dir() for a in made] == [False, True, True]), "bounded"
    )
    assert not left.exists()


async def test_an_engine_without_adapters_says_so(database: Database, tmp_path: Path) -> None:
    shop = Shop(database, tmp_path, count=0)
    with pytest.raises(Refused, match="PENSTOCK_ENGINE_LORAS"):
        async with shop.adapters.held("0" * 64):
            raise AssertionError("it was let in")
