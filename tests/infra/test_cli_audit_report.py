"""`penstock audit report`: a file that anybody can open, or JSON."""

import json
from pathlib import Path

import httpx
from typer.testing import CliRunner, Result

from infra.cli.main import app
from tests.auditing import audited, graded
from tests.rig import Rig


def report(rig: Rig, key: str, *arguments: str) -> Result:
    env = {"PENSTOCK_URL": rig.base_url, "PENSTOCK_API_KEY": key, "COLUMNS": "200"}
    return CliRunner().invoke(app, ["audit", "report", *arguments], env=env)


async def test_the_page_is_written_to_a_file(
    rig: Rig, key: str, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    audit = await audited(client, suites=[await graded(client, 12)], policy="none")
    out = tmp_path / "page.html"
    done = report(rig, key, audit["id"], "--out", str(out))
    assert (done.exit_code, done.stdout) == (0, f"{out}\n"), done.output
    assert out.read_text().startswith("<!doctype html>")
    told = json.loads(report(rig, key, audit["id"], "--json").stdout)
    assert told["verdict"] == "INCONCLUSIVE"


async def test_a_file_that_cannot_be_written_and_an_audit_that_is_not_there_are_one_line(
    rig: Rig, key: str, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    audit = await audited(client, suites=[await graded(client, 12)], policy="none")
    nowhere = report(rig, key, audit["id"], "--out", str(tmp_path / "no" / "page.html"))
    assert (nowhere.exit_code, nowhere.stdout) == (1, "")
    assert "No such file or directory" in nowhere.stderr
    missing = report(rig, key, "job_01kaq0v9ej6xk0m3c8s5t1w2yz")
    assert missing.exit_code == 1
    assert "No audit job_01kaq0v9ej6xk0m3c8s5t1w2yz" in missing.stderr
