"""`penstock gate`: its exit codes are for scripts that ship, and it says what is missing."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.catalog import models
from core.catalog.tables import Version
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from core.security.keys import RISK_OWNER, Caller
from infra.cli.main import app
from tests.core import cataloguing as given
from tests.gating import audited
from tests.rig import Rig


class Shop:
    """A tenant with a version in staging, a key, and one with the role."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        asyncio.run(self._make())

    async def _make(self) -> None:
        self.tenant = new_id("t")
        self.key = await self.rig.key(self.tenant)
        database = Database(self.rig.settings(), name="test", pool=1)
        async with database.begin() as session:
            self.caller = await keys.authenticate(session, self.key)
            _, self.owner = await keys.create(
                session, tenant=self.tenant, name="owner", roles=[RISK_OWNER]
            )
            (rill,) = [m for m in await models.listed(session) if m.name == "rill"]
        self.version: Version = await given.version(database, self.caller, rill)
        await database.close()

    def audit(self, verdict: str) -> None:
        async def put() -> None:
            database = Database(self.rig.settings(), name="test", pool=1)
            caller = Caller(self.caller.tenant_id, self.caller.key_id)
            await audited(database, caller, self.version.name, verdict)
            await database.close()

        asyncio.run(put())

    def run(self, *arguments: str, code: int = 0, key: str = "") -> str:
        given_ = ("--url", self.rig.base_url, "--api-key", key or self.key)
        result = CliRunner().invoke(app, ["gate", *arguments, *given_], env={"COLUMNS": "250"})
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture
def shop(rig: Rig) -> Shop:
    return Shop(rig)


def test_the_exit_code_is_the_verdict(shop: Shop) -> None:
    name = shop.version.name
    said = shop.run("check", name, code=2)
    assert said.startswith(f"MISSING: {name}, production, default@1")
    assert f"Audit it: penstock audit run --model {name} --policy default@1 --wait." in said
    assert f"penstock gate force {name} --reason" in said
    for verdict, code in (("INCONCLUSIVE", 2), ("INVALID", 3), ("PASS", 0), ("FAIL", 1)):
        shop.audit(verdict)
        said = shop.run("check", name, "--door", "alias:prod", code=code)
        assert said.startswith(verdict)
        shown = json.loads(shop.run("check", name, "--json", code=code))
        assert (shown["verdict"], shown["passes"]) == (verdict, verdict == "PASS")


def test_what_cannot_be_asked_is_no_verdict(shop: Shop) -> None:
    assert "No version" in shop.run("check", "nothing", code=4)
    away = CliRunner().invoke(
        app, ["gate", "check", "x", "--url", "http://127.0.0.1:9", "--api-key", "k"],
    )  # fmt: skip
    assert away.exit_code == 4


def test_force_takes_the_role(shop: Shop) -> None:
    arguments = (
        "force",
        shop.version.name,
        "--reason",
        "the client waits",
        "--days",
        "5",
        "--door",
        "alias:prod",
    )
    assert "role risk-owner" in shop.run(*arguments, code=1)
    assert "withdrawn after 5 days" in shop.run(*arguments, key=shop.owner)
    assert "forced: the client waits" in shop.run("show")


def test_a_policy_is_made_listed_and_set(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"checks": [
        {"id": "bits", "metric": "likelihood.bits_per_byte", "limit": {"max": 3.0}}]}))  # fmt: skip
    assert shop.run("make", "mine", str(file)).startswith("mine@1 ")
    assert "mine@1" in shop.run("policies")
    assert json.loads(shop.run("policies", "mine"))["version"] == 1
    assert "role risk-owner" in shop.run("set", "mine", code=1)
    assert "policy mine@1" in shop.run("set", "mine", "--reason", "ours", key=shop.owner)
    file.write_text("{")
    assert "is no JSON" in shop.run("make", "mine", str(file), code=2)
