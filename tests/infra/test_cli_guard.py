"""`penstock guard` as its user sees it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app
from tests.rig import Rig

Cli = Callable[..., Result]
SETTINGS = {
    "mode": "observe",
    "lexicons": [{"category": "codename", "terms": ["project halcyon"]}],
    "actions": {"codename": {"action": "stop"}},
}


@pytest.fixture
def cli(rig: Rig, key: str) -> Cli:
    env = {"PENSTOCK_URL": rig.base_url, "PENSTOCK_API_KEY": key, "COLUMNS": "200"}
    return lambda *arguments: CliRunner().invoke(app, ("guard", *arguments), env=env)


def test_a_guard_is_tried_set_and_shown(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "guard.json"
    file.write_text(json.dumps(SETTINGS | {"mode": "enforce"}))
    assert cli("show").output.startswith("off")
    tried = cli("test", "So Project Halcyon it is", "--file", str(file))
    assert tried.exit_code == 1
    assert tried.output.splitlines() == ["So  ...", "  codename: stop, 1"]
    # A mode beside a file is the mode.
    put = cli("set", "observe", "--file", str(file))
    assert put.exit_code == 0, put.output
    assert put.output.startswith("observe")
    assert "lexicon codename: 1 terms" in put.output
    assert cli("test", "nothing here").exit_code == 0
    assert cli("set", "enforce").output.startswith("enforce")
    lowered = cli("set", "observe")
    assert lowered.exit_code == 1
    assert "penstock keys create --role risk-owner" in lowered.output
    shown = json.loads(cli("show", "--json").output)
    assert shown["settings"]["lexicons"][0]["terms"] == ["project halcyon"]
    for listing in ("counts", "watches"):
        assert json.loads(cli(listing, "--json").output)["data"] == []


def test_what_is_wrong_is_said_in_a_line(cli: Cli, tmp_path: Path) -> None:
    refused = cli("set", "perhaps")
    assert refused.exit_code == 2
    assert "mode" in refused.output
    file = tmp_path / "guard.json"
    file.write_text("{")
    assert "is no JSON" in cli("set", "--file", str(file)).output
