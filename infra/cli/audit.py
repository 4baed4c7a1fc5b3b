"""`penstock audit`: suites, plan, run, watch, list, show, items and report, over the API like any other client.

Exit codes of what waits for a verdict: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 INVALID, 4 there is none: the audit was
refused, failed or cancelled, or the API is away. Of the others: 0 it worked, 1 it did not, 2 refused input.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from infra.cli import audit_tables as tables
from infra.cli import written
from infra.cli.audit_export import export
from infra.cli.audit_report import report
from infra.cli.audit_watch import watch as follow
from infra.cli.jobs import AsJson, Key, Url
from infra.cli.remote import Remote, Trouble, opened

audit_app = typer.Typer(
    no_args_is_help=True,
    help="Audits: suites, plan, run, watch, list, show, items, report, export.",
)
audit_app.command()(report)
audit_app.command()(export)
AUDITS = "/v1/audits"
# What a suite asks is sent for.
PURPOSE = "evals"
CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "INVALID": 3}
NO_VERDICT = 4

AuditId = Annotated[str, typer.Argument(metavar="AUDIT", help="job_...")]
Model = Annotated[str | None, typer.Option(help="A name or alias; default: the default.")]
Suites = Annotated[list[str] | None, typer.Option("--suite", help="A suite's name.")]
Files = Annotated[
    list[str] | None,
    typer.Option("--file", help="SUITE=FILE or SUITE.PART=FILE: a file here, or file_..."),
]
Chosen = Annotated[list[str] | None, typer.Option("--option", help="SUITE.NAME=VALUE.")]
Items = Annotated[int | None, typer.Option(min=1, help="Of each suite at most so many.")]
Split = Annotated[str | None, typer.Option(help="all, train or held_out.")]
PolicyName = Annotated[str | None, typer.Option(help="name, name@3 or none; default: the gate's.")]
Against = Annotated[
    str | None, typer.Option(help="Another model, or none; default: what is in production.")
]
Seed = Annotated[int | None, typer.Option(help="Of draws and sampling.")]
Render = Annotated[str | None, typer.Option(help="auto, chat or plain.")]
Imported = Annotated[
    list[str] | None, typer.Option("--import", help="Results of another tool: a file, or file_...")
]


@audit_app.command("suites")
def list_suites(as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """What can be asked: every suite with its files and metrics."""
    with opened(url, key, "audit") as remote:
        found = remote.ask("GET", f"{AUDITS}/suites")["data"]
    if as_json:
        typer.echo(json.dumps(found))
    else:
        Console().print(tables.suites(found))


@audit_app.command()
def plan(
    model: Model = None, suite: Suites = None, file: Files = None, option: Chosen = None,
    items: Items = None, split: Split = None, policy: PolicyName = None, baseline: Against = None,
    seed: Seed = None, render: Render = None, imported: Imported = None,
    as_json: AsJson = False, url: Url = None, key: Key = None,
) -> None:  # fmt: skip
    """Say what an audit would ask, and the smallest effects that it could see, before it is run."""
    with opened(url, key, "audit") as remote:
        wish = _wish(remote, suite, file, option, items, split, imported)
        body = _body(wish, model, policy, baseline, seed, render)
        told = remote.ask("POST", f"{AUDITS}/plan", json=body)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        Console().print(tables.plan(told))


@audit_app.command()
def run(
    model: Model = None, suite: Suites = None, file: Files = None, option: Chosen = None,
    items: Items = None, split: Split = None, policy: PolicyName = None, baseline: Against = None,
    seed: Seed = None, render: Render = None, imported: Imported = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay for the verdict.")] = False,
    as_json: AsJson = False, url: Url = None, key: Key = None,
) -> None:  # fmt: skip
    """Audit a model; prints the audit's id, or with --wait its verdict. Without suites: those that the policy needs."""
    with opened(url, key, "audit") as remote, _told(wait):
        wish = _wish(remote, suite, file, option, items, split, imported)
        body = _body(wish, model, policy, baseline, seed, render)
        headers = {"idempotency-key": secrets.token_hex(16)}
        job = remote.ask("POST", AUDITS, json=body, headers=headers)
        if wait:
            _watch(remote, job["id"], as_json)
        else:
            typer.echo(json.dumps(job) if as_json else job["id"])


@audit_app.command()
def watch(audit_id: AuditId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Show how an audit goes until it has ended, then its verdict."""
    with opened(url, key, "audit") as remote, _told(waits=True):
        _watch(remote, audit_id, as_json)


@audit_app.command()
def show(audit_id: AuditId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """One audit: its verdict, each check, and all figures."""
    with opened(url, key, "audit") as remote:
        audit = remote.ask("GET", f"{AUDITS}/{audit_id}")
    if as_json:
        typer.echo(json.dumps(audit))
    else:
        Console().print(tables.page(audit))


@audit_app.command("list")
def list_audits(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    verdict: Annotated[str | None, typer.Option(help="PASS, FAIL, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Your audits, newest first; with --json one a line."""
    query = {k: v for k, v in (("model", model), ("verdict", verdict)) if v is not None}
    with opened(url, key, "audit") as remote:
        found = list(written.listed(remote, AUDITS, query, limit))
    if as_json:
        for audit in found:
            typer.echo(json.dumps(audit))
        return
    table = Table(
        Column("id", no_wrap=True, min_width=30),
        *(Column(name, no_wrap=True) for name in ("verdict", "policy", "until")),
        *(Column(name, overflow="fold") for name in ("model", "suites")),
    )
    for audit in found:
        stands, policy = audit["verdict"] or audit["state"], audit["policy"]
        table.add_row(
            audit["id"], Text(stands, tables.STYLES.get(stands, "")),
            f"{policy['name']}@{policy['version']}" if policy else "", (audit["expires_at"] or "")[:10],
            audit["model"], ", ".join(one["name"] for one in audit["suites"]),
        )  # fmt: skip
    Console().print(table)


@audit_app.command("items")
def list_items(
    audit_id: AuditId,
    suite: Annotated[str | None, typer.Option(help="Only of this suite.")] = None,
    subject: Annotated[str | None, typer.Option(help="model or baseline.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    url: Url = None,
    key: Key = None,
) -> None:
    """What was asked, answered and scored: one JSON object a line."""
    query = {k: v for k, v in (("suite", suite), ("subject", subject)) if v is not None}
    with opened(url, key, "audit") as remote:
        for item in written.listed(remote, f"{AUDITS}/{audit_id}/items", query, limit):
            typer.echo(json.dumps(item))


def _watch(remote: Remote, audit_id: str, as_json: bool) -> None:
    audit = follow(remote, audit_id, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(audit))
    else:
        Console().print(tables.page(audit))
    raise typer.Exit(CODES.get(audit["verdict"] or "", NO_VERDICT))


@contextmanager
def _told(waits: bool) -> Iterator[None]:
    """Of what waits for a verdict: what goes wrong on the way is none, and not INCONCLUSIVE's 2."""
    try:
        yield
    except Trouble as trouble:
        raise Trouble(str(trouble), NO_VERDICT if waits else trouble.exit_code) from trouble


def _wish(
    remote: Remote,
    suites: list[str] | None,
    files: list[str] | None,
    options: list[str] | None,
    items: int | None,
    split: str | None,
    imports: list[str] | None,
) -> dict[str, Any]:
    """The suites in the order in which they are named, files here sent first. Raises Trouble for one not there."""
    found: dict[str, dict[str, Any]] = {}
    for name in suites or ():
        found[name] = {"suite": name}
    for place, file in map(written.pair, files or ()):
        suite, _, part = place.partition(".")
        wished = found.setdefault(suite, {"suite": suite})
        wished.setdefault("files", {})[part or "data"] = written.file_id(remote, file, PURPOSE)
    for place, value in map(written.pair, options or ()):
        suite, _, name = place.partition(".")
        chosen = found.setdefault(suite, {"suite": suite}).setdefault("options", {})
        chosen[name] = written.value(value)
    more = {k: v for k, v in (("items", items), ("split", split)) if v is not None}
    return {
        "suites": [wished | more for wished in found.values()],
        "imports": [written.file_id(remote, one, PURPOSE) for one in imports or ()],
    }


def _body(
    wish: dict[str, Any],
    model: str | None,
    policy: str | None,
    baseline: str | None,
    seed: int | None,
    render: str | None,
) -> dict[str, Any]:
    given = {"model": model, "policy": policy, "seed": seed, "render": render}
    body = wish | {k: v for k, v in given.items() if v is not None}
    if baseline is not None:
        body["baseline"] = None if baseline == "none" else baseline
    return body
