"""`penstock audit export`: an audit as Inspect logs or lm-eval's result files, in a folder."""

import io
import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.jobs import Key, Url
from infra.cli.remote import opened


class Format(StrEnum):
    """Other tools' formats."""

    INSPECT = "inspect"
    LM_EVAL = "lm-eval"


def export(
    audit_id: Annotated[str, typer.Argument(metavar="AUDIT", help="job_...")],
    format_: Annotated[Format, typer.Option("--format", help="For which tool.")] = Format.INSPECT,
    out: Annotated[Path, typer.Option(help="The folder that the files go to.")] = Path(),
    url: Url = None,
    key: Key = None,
) -> None:
    """Inspect: one log for each suite (`inspect view --log-dir OUT`). lm-eval: results_*.json and samples_*.jsonl."""
    with opened(url, key, "audit") as remote:
        path = f"/v1/audits/{audit_id}/export"
        found = remote.answer("GET", path, params={"format": format_.value})
    try:
        out.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
            for name in archive.namelist():
                # The name alone: whatever an archive says, nothing is written beside the folder.
                target = out / Path(name).name
                target.write_bytes(archive.read(name))
                typer.echo(str(target))
    except OSError as error:
        typer.echo(f"penstock audit: {out}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from error
