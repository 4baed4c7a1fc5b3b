"""`penstock models` and `penstock usage` as their user sees them."""

import asyncio
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from typer.testing import CliRunner, Result

from core.catalog import models
from core.catalog.prices import FREE
from core.config import settings
from core.db.session import Database
from infra.cli.main import app
from tests import asking
from tests.rig import Rig

Cli = Callable[..., Result]


@pytest.fixture
def cli(rig: Rig, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    env = {"PENSTOCK_URL": rig.base_url, "PENSTOCK_API_KEY": key, "COLUMNS": "250"}
    monkeypatch.setenv("DATABASE_URL", rig.stack.env()["DATABASE_URL"])
    settings.cache_clear()

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=env)

    yield run
    settings.cache_clear()


async def test_prices_are_set_and_jobs_cost_them(
    cli: Cli, client: httpx.AsyncClient, db: Database
) -> None:
    try:
        # On a thread: the command has an event loop of its own.
        priced = await asyncio.to_thread(
            cli, "models", "price", "rill", "--in", "0.25", "--out", "1", "--cached", "0.125"
        )
        assert priced.exit_code == 0, priced.output
        assert "in 0.25, out 1, cached 0.125 USD for a million tokens" in priced.output
        table = (await asyncio.to_thread(cli, "models", "list")).stdout
        for part in ("rill", "0.25", "0.125", "in (USD)"):
            assert part in table
        job = await asking.run(client, max_tokens=5)
    finally:
        async with db.begin() as session:
            await models.price(session, "rill", FREE)
    shown = cli("usage", "--group-by", "model,day")
    assert shown.exit_code == 0, shown.output
    for part in ("day", "model", "rill", "cost (USD)", job["cost"]):
        assert part in shown.stdout
    (line,) = cli("usage", "--json").stdout.splitlines()
    assert json.loads(line)["cost"] == job["cost"]
    assert cli("usage", "--model", "none", "--json").stdout == ""
    assert "cost" in cli("usage", "--model", "none").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("models", "price", "rill", "--in", "x", "--out", "1"), 2, "--in"),
        (("models", "price", "rill", "--in", "1", "--out", "1", "--cached", "2"), 2, "--cached"),
        (
            ("models", "price", "gone", "--in", "1", "--out", "1"),
            1,
            "No model 'gone'. Models: rill",
        ),
        (("usage", "--start", "soon"), 2, "start"),
        (("usage", "--group-by", "hour"), 2, "group_by"),
    ],
)
def test_what_is_refused_is_told_in_a_line(
    cli: Cli, arguments: tuple[str, ...], code: int, told: str
) -> None:
    result = cli(*arguments)
    assert (result.exit_code, told in result.output) == (code, True), result.output
