"""`penstock models`: versions listed, shown, staged, rolled back and collected from the command line."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from core.catalog import aliases, artifacts, stages
from core.catalog.artifacts import Artifact
from core.catalog.tables import Version
from core.config import Settings, settings
from core.db.session import Database
from core.ids import new_id
from core.security.keys import Caller
from core.storage.place import storage_of
from infra.cli.main import app
from tests.core import cataloguing as given
from tests.fakes.postgres import postgres_url
from tests.fakes.webhooks import tenant
from tests.gating import audited, passed

__all__ = ["postgres_url"]


class Made:
    """A tenant with two versions, the second behind the alias prod, and one that was retired long ago."""

    def __init__(self, url: str, store: Path) -> None:
        self.config = Settings(_env_file=None, database_url=url, storage_url=str(store))
        self.store = store
        asyncio.run(self._make())

    async def _make(self) -> None:
        database = Database(self.config, name="test", pool=2)
        caller = await tenant(database)
        model = await given.base(database)
        async with database.begin() as session:
            self.tenant: str = await session.scalar(
                text("SELECT name FROM tenants WHERE id = :id"), {"id": caller.tenant_id}
            )
        kept = await self._kept()
        self.old, self.first, self.second = [
            await given.version(database, caller, model, kept if n == 0 else None) for n in range(3)
        ]
        await self._prepare(database, caller, kept)
        await database.close()

    async def fail(self, *names: str) -> None:
        """Audits of these fail."""
        database = Database(self.config, name="test", pool=1)
        async with database.single() as session:
            owner = await session.scalar(
                text("SELECT id FROM tenants WHERE name = :n"), {"n": self.tenant}
            )
        for name in names:
            await audited(database, Caller(owner, "test"), name, "FAIL")
        await database.close()

    async def _kept(self) -> Artifact:
        folder = given.adapter(self.store.parent / new_id("out"), new_id("d").encode()[:28])
        return await artifacts.keep(storage_of(self.config), folder, "adapter")

    async def _prepare(self, database: Database, caller: Caller, kept: Artifact) -> None:
        await passed(database, caller, self.first.name, self.second.name)
        async with database.begin() as session:
            for made in (self.first, self.second):
                await aliases.put(session, caller, "prod", made.name)
            await stages.retire(session, caller, self.old.name, "worse than before")
            for sql in (
                "UPDATE versions SET retired_at = now() - cast(:by AS interval) WHERE artifact = :d",
                "UPDATE artifacts SET created_at = now() - cast(:by AS interval) WHERE digest = :d",
            ):
                await session.execute(text(sql), {"by": timedelta(days=31), "d": kept.digest})


@pytest.fixture
def made(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    found = Made(postgres_url, tmp_path / "store")
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    monkeypatch.setenv("PENSTOCK_STORAGE_URL", str(tmp_path / "store"))
    settings.cache_clear()
    yield found
    settings.cache_clear()


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "250"})
    assert result.exit_code == code, result.output
    return result.output


def test_versions_are_listed_and_shown(made: Made) -> None:
    (line,) = [one for one in run("list").splitlines() if made.second.name in one]
    for cell in (made.tenant, "candidate", "3", made.second.digest[:12]):
        assert f" {cell} " in line
    shown = json.loads(run("show", made.second.name, "--tenant", made.tenant))
    assert (shown["id"], shown["digest"]) == (made.second.id, made.second.digest)
    assert (shown["aliases"], shown["history"]) == (["prod"], [])
    old = json.loads(run("show", made.old.id, "--tenant", made.tenant))
    assert [m["reason"] for m in old["history"]] == ["worse than before"]
    assert "No tenant 'nobody'" in run("show", made.second.name, "--tenant", "nobody", code=1)


def test_a_stage_is_moved_and_its_mover_kept(made: Made) -> None:
    to = ("--tenant", made.tenant)
    said = run("stage", made.first.name, "staging", *to, "--reason", "94 %")
    assert said == f"{made.first.name} is in staging\n"
    (moved,) = json.loads(run("show", made.first.name, *to))["history"]
    assert (moved["was"], moved["stage"], moved["by"], moved["reason"]) == (
        "candidate", "staging", "command line", "94 %",
    )  # fmt: skip
    assert "it can go to production, retired" in run(
        "stage", made.first.id, "candidate", *to, code=1
    )
    assert "must be one of candidate" in run("stage", made.first.id, "best", *to, code=1)


def test_neither_stages_nor_rollbacks_go_round_the_gate(made: Made) -> None:
    to = ("--tenant", made.tenant)
    run("stage", made.second.name, "staging", *to)
    asyncio.run(made.fail(made.second.name, made.first.name))
    for arguments in (("stage", made.second.name, "production"), ("rollback", "prod")):
        said = run(*arguments, *to, code=1)
        assert "does not pass the gate" in said
        assert "harm.compliance: FAIL" in said


def test_an_alias_is_rolled_back(made: Made) -> None:
    assert run("rollback", "prod", "--tenant", made.tenant) == f"prod leads to {made.first.name}\n"
    assert "led to nothing before" in run("rollback", "prod", "--tenant", made.tenant, code=1)


def bytes_left(made: Made) -> list[Path]:
    return list((made.store / "artifacts").iterdir())


def test_what_was_retired_long_ago_is_collected(made: Made) -> None:
    assert len(bytes_left(made)) == 2
    said = run("gc")
    count = int(said.split()[0])
    assert count >= 1, said
    assert bytes_left(made) == []
    assert run("gc") == "0 artefacts collected (0 bytes), 0 unclaimed files deleted\n"


def test_a_version_is_more_than_its_bytes(made: Made) -> None:
    run("gc")
    shown = json.loads(run("show", made.old.name, "--tenant", made.tenant))
    row: Version = made.old
    assert (shown["digest"], shown["stage"]) == (row.digest, "retired")
