"""`penstock audit report`: an audit's report as a file that anybody can open, or as JSON."""

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.jobs import AsJson, Key, Url
from infra.cli.remote import opened

AuditId = Annotated[str, typer.Argument(metavar="AUDIT", help="job_...")]


def report(
    audit_id: AuditId,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("report.html"),
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """One HTML page about an audit that stands alone: its verdict, each check, the groups, the worst items."""
    path = f"/v1/audits/{audit_id}/report"
    wanted = "json" if as_json else "html"
    with opened(url, key, "audit") as remote:
        found = remote.answer("GET", path, params={"format": wanted})
    if as_json:
        typer.echo(found.text)
        return
    try:
        out.write_text(found.text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"penstock audit: {out}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(str(out))
