"""`penstock audit` as its user sees it: the verdict first, tables, lines of progress, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app
from tests.auditing import GRADED, QUESTIONS, audited, graded
from tests.rig import Rig

Cli = Callable[..., Result]


@pytest.fixture
def cli(rig: Rig, key: str) -> Cli:
    env = {"PENSTOCK_URL": rig.base_url, "PENSTOCK_API_KEY": key, "COLUMNS": "200"}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["audit", *arguments], env=env)

    return run


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"item": row}) + "\n" for row in QUESTIONS))
    options = [f"graded.{name}={json.dumps(value)}" for name, value in GRADED.items()]
    return ["--file", f"graded={path}", *(part for o in options for part in ("--option", o))]


def test_every_suite_is_listed_with_its_metrics_and_files(cli: Cli) -> None:
    shown = cli("suites")
    assert shown.exit_code == 0, shown.output
    assert "graded" in shown.stdout
    listed = json.loads(cli("suites", "--json").stdout)
    assert {"name", "metrics", "needs", "licence", "limits"} <= listed[0].keys()


def test_a_plan_says_what_can_be_seen_and_asks_nothing(cli: Cli, asked: list[str]) -> None:
    told = cli("plan", *asked, "--policy", "none", "--items", "10")
    assert told.exit_code == 0, told.output
    assert "10 items" in told.stdout
    assert cli("list").stdout.count("job_") == 0


def test_a_run_that_waits_ends_with_its_verdict_as_exit_code(cli: Cli, asked: list[str]) -> None:
    done = cli("run", *asked, "--policy", "none", "--wait")
    assert done.exit_code == 2, done.output
    assert done.stdout.startswith("INCONCLUSIVE")
    assert "no policy" in done.stdout
    assert "graded.passed" in done.stdout
    assert "collect" in done.stderr


def test_what_is_refused_is_no_verdict(cli: Cli) -> None:
    refused = cli("run", "--suite", "nothing", "--wait")
    assert refused.exit_code == 4, refused.output
    assert "suites.0.suite: There is no suite 'nothing'" in refused.stderr
    assert cli("run", "--suite", "nothing").exit_code == 2
    missing = cli("run", "--file", "graded=/nowhere.jsonl")
    assert "/nowhere.jsonl: No such file" in missing.stderr


async def test_list_show_and_items_read_an_audit(cli: Cli, client: httpx.AsyncClient) -> None:
    audit = await audited(client, suites=[await graded(client, 3)], policy="none")
    assert audit["id"] in cli("list").stdout
    assert (
        json.loads(cli("list", "--json", "--verdict", "INCONCLUSIVE").stdout)["id"] == audit["id"]
    )
    assert cli("list", "--verdict", "PASS").stdout.count("job_") == 0
    assert cli("show", audit["id"]).stdout.startswith("INCONCLUSIVE · rill")
    assert json.loads(cli("show", audit["id"], "--json").stdout) == audit
    rows = [
        json.loads(line) for line in cli("items", audit["id"], "--limit", "2").stdout.splitlines()
    ]
    assert [row["number"] for row in rows] == [0, 1]
    watched = cli("watch", audit["id"], "--json")
    assert watched.exit_code == 2
    assert json.loads(watched.stdout.splitlines()[-2])["type"] == "job.succeeded"
