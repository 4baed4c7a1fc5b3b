"""`penstock usage`: what your tenant used and what it cost, over the API like any other client."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.cli.jobs import AsJson, Key, Url
from infra.cli.remote import Remote, Trouble, connect

COUNTS = ("jobs", "batches", "prompt_tokens", "cached_tokens", "completion_tokens", "engine_seconds",
          "cost", "open", "reserved_tokens", "reserved_cost")  # fmt: skip


def usage(
    start: Annotated[str | None, typer.Option(help="2026-07-01; default: 30 days back.")] = None,
    end: Annotated[str | None, typer.Option(help="The last day; default: today (UTC).")] = None,
    group_by: Annotated[str, typer.Option(help="day, key, model, by commas.")] = "day",
    key_id: Annotated[str | None, typer.Option(help="Only of this key.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show what your jobs took and cost; with --json one group a line."""
    given = {"start": start, "end": end, "group_by": group_by, "key_id": key_id, "model": model}
    remote = connect(url, key)
    try:
        with remote.client:
            found = list(_groups(remote, {k: v for k, v in given.items() if v is not None}))
    except Trouble as trouble:
        typer.echo(f"penstock usage: {trouble}", err=True)
        raise typer.Exit(trouble.exit_code) from trouble
    if as_json:
        for one in found:
            typer.echo(json.dumps(one))
    else:
        by = [name for name in ("day", "key", "model") if name in group_by.split(",")]
        Console().print(_table(found, by))


def _groups(remote: Remote, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    more = True
    while more:
        page = remote.ask("GET", "/v1/usage", params=query)
        yield from page["data"]
        more, query = page["has_more"], {**query, "after": page["last_id"]}


def _table(found: list[dict[str, Any]], by: Sequence[str]) -> Table:
    currency = found[0]["currency"] if found else ""
    table = Table(*by)
    for name in COUNTS:
        head = name.replace("_", " ") + (f" ({currency})" if name == "cost" and currency else "")
        table.add_column(head, justify="right")
    for one in found:
        group = [str(one["key_id" if name == "key" else name] or "") for name in by]
        table.add_row(*group, *(str(one[name]) for name in COUNTS))
    return table
