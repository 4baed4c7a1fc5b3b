"""What was in production before there was a gate stands for 30 days, admitted by the migration."""

import asyncio
from collections.abc import Iterator

import orjson
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import sql

from core.catalog import gating
from core.catalog.subjects import dataset_of
from core.config import Settings, settings
from core.db.session import Database
from core.gate import service
from core.ids import new_id
from tests.rig import ROOT

LINEAGE = {"data": [{"file": "file_1", "sha256": "d" * 64}]}
_VERSION = """INSERT INTO versions (id, tenant_id, name, kind, base, base_digest, suffix, number, digest, stage,
                  lineage, metrics, context, published_at)
              VALUES (%s, 'ten_1', %s, 'adapter', 'rill', %s, '', %s, %s, %s, %s, '{}', 2048, now())"""


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    """A database of its own, without any table."""
    name = sql.Identifier(new_id("before"))
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield postgres_url.rpartition("/")[0] + "/" + name.as_string().strip('"')
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def upgraded(url: str, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    settings.cache_clear()
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    command.upgrade(config, to)
    settings.cache_clear()


async def stands(url: str) -> list[tuple[str, str, str, bool]]:
    database = Database(Settings(_env_file=None, database_url=url), name="test", pool=1)
    async with database.single() as session:
        held = await service.current(session, "ten_1")
        found = await gating.behind(session, "ten_1", held)
    await database.close()
    return [
        (one.door, one.what.name, one.why_not, one.admission is not None and one.admission.audit is None)
        for one in found
    ]  # fmt: skip


def test_what_stood_there_stands_for_now(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded(url, "0017", monkeypatch)
    with psycopg.connect(url) as before:
        before.execute("INSERT INTO tenants (id, name) VALUES ('ten_1', 'acme')")
        before.execute(
            "INSERT INTO models (name, source, context, digest) VALUES ('rill', 'here', 2048, %s)", ["b" * 64]
        )  # fmt: skip
        for number, stage in enumerate(("production", "staging")):
            row = (f"ver_{number}", f"ft:{number}", "b" * 64, number, f"{number}" * 64, stage)
            before.execute(_VERSION, (*row, orjson.dumps(LINEAGE).decode()))
        for name, target, version in (
            ("prod", "ft:1", "ver_1"), ("Prod-EU", "rill", None), ("dev", "ft:1", "ver_1"),
        ):  # fmt: skip
            before.execute(
                "INSERT INTO aliases (tenant_id, name, target, version_id) VALUES ('ten_1', %s, %s, %s)",
                (name, target, version),
            )
    upgraded(url, "head", monkeypatch)
    assert sorted(asyncio.run(stands(url))) == [
        ("alias:Prod-EU", "rill", "", True),
        ("alias:prod", "ft:1", "", True),
        ("production", "ft:0", "", True),
    ]
    with psycopg.connect(url) as after:
        rows = after.execute(
            "SELECT dataset, expires_at > now() + interval '29 days' FROM gate_passes WHERE version_id IS NOT NULL"
        ).fetchall()
    assert rows == [(dataset_of(LINEAGE), True)] * 2
