"""`penstock guard`: what your answers go by, what it met, and what it would do; over the API like any other client."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.cli.remote import opened

guard_app = typer.Typer(no_args_is_help=True, help="The guard: show, set, test, counts, watches.")

Url = Annotated[str | None, typer.Option("--url", envvar="PENSTOCK_URL", help="Where the API is.")]
Key = Annotated[
    str | None, typer.Option("--api-key", envvar="PENSTOCK_API_KEY", help="sk-penstock-...")
]
AsJson = Annotated[bool, typer.Option("--json", help="The API's answer as it is.")]
Settings = Annotated[
    Path | None, typer.Option("--file", exists=True, dir_okay=False, help="Settings, as JSON.")
]


@guard_app.command()
def show(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """The settings that jobs accepted now are answered under."""
    with opened(url, key, "guard show") as api:
        found = api.ask("GET", "/v1/guard")
    _shown(found, as_json=as_json)


@guard_app.command(name="set")
def put(
    mode: Annotated[str, typer.Argument(help="off, observe or enforce; default: the file's.")] = "",
    file: Settings = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Change the mode, or all settings from a file; jobs accepted before keep theirs. Lowering what is enforced takes
    a key with the role risk-owner."""
    with opened(url, key, "guard set") as api:
        wanted = _read(file) if file else api.ask("GET", "/v1/guard")["settings"]
        found = api.ask("PUT", "/v1/guard", json=wanted | ({"mode": mode} if mode else {}))
    _shown(found, as_json=as_json)


@guard_app.command(name="test")
def try_out(
    text: Annotated[str, typer.Argument(help="What a model might say; - reads standard input.")],
    file: Settings = None,
    is_json: Annotated[
        bool, typer.Option("--text-is-json", help="As a structured answer.")
    ] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What would leave of a text, under your settings or a file's. Ends with 1 when something was met."""
    wanted: dict[str, Any] = {"text": sys.stdin.read() if text == "-" else text, "json": is_json}
    if file:
        wanted["guard"] = _read(file)
    with opened(url, key, "guard test") as api:
        found = api.ask("POST", "/v1/guard/test", json=wanted)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(found["text"] + (" ..." if found["finish_reason"] == "content_filter" else ""))
        for hit in found["hits"]:
            typer.echo(f"  {hit['category']}: {hit['action']}, {hit['hits']}")
    raise typer.Exit(1 if found["hits"] else 0)


@guard_app.command()
def counts(
    days: Annotated[int, typer.Option(min=1, max=366)] = 30,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What was met in answers, by day, category, group and action."""
    with opened(url, key, "guard counts") as api:
        found = api.ask("GET", "/v1/guard/counts", params={"days": days})
    _table(found, ("day", "category", "group", "action", "hits"), as_json=as_json)


@guard_app.command()
def watches(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """The tests of gaps between groups of requests."""
    with opened(url, key, "guard watches") as api:
        found = api.ask("GET", "/v1/guard/watches")
    names = ("category", "group", "pairs", "evidence", "needed", "alarmed_at")
    _table(found, names, as_json=as_json)


def _read(file: Path) -> dict[str, Any]:
    try:
        wanted: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}") from error
    return wanted


def _shown(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    settings = found["settings"]
    typer.echo(f"{settings['mode']}  {found['digest'][:12]}  set {found['set_at'] or 'never'}")
    for name, wish in settings["actions"].items():
        typer.echo(f"  {name}: {wish['action']}" + (f" {wish['text']!r}" if wish["text"] else ""))
    for one in settings["lexicons"]:
        severe = ", severe" if one["severe"] else ""
        typer.echo(f"  lexicon {one['category']}: {len(one['terms'])} terms{severe}")
    for one in settings["patterns"]:
        typer.echo(f"  pattern {one['category']}: {one['pattern']}")
    if judge := settings["classifier"]:
        typer.echo(f"  classifier {judge['name'] or 'of the platform'}, {judge['on_failure']}")
    if router := settings["router"]:
        how = found["routing"]
        why = f", all shown: {how['why']}" if how["why"] else ""
        typer.echo(f"  router {len(router['examples'])} examples, {router['model']}{why}")


def _table(found: dict[str, Any], names: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table(*names)
    for one in found["data"]:
        table.add_row(*(_told(one[name]) for name in names))
    Console().print(table)


def _told(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str("" if value is None else value)
