"""`penstock keys`: make, limit, list and revoke API keys, straight in the database."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.security import keys
from core.security.keys import ApiKey, Rate, Tenant, Unit
from infra.cli.database import in_database

keys_app = typer.Typer(no_args_is_help=True, help="API keys: create, limit, list, revoke.")
_HELP = "A minute: a number, 0 for no limit, or default for what the settings say."
Requests = Annotated[str | None, typer.Option("--requests-per-minute", help=_HELP)]
Tokens = Annotated[str | None, typer.Option("--tokens-per-minute", help=_HELP)]


@keys_app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose it is; made when new.")] = "default",
    name: Annotated[str, typer.Option(help="What it is for.")] = "cli",
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help=f"What its holder may do beyond the rest: {', '.join(keys.ROLES)}."),
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    rate = Rate(**rates(requests_per_minute, tokens_per_minute))
    _, key = in_database(
        "keys",
        lambda session: keys.create(session, tenant=tenant, name=name, rate=rate, roles=role or ()),
    )
    typer.echo(key)


@keys_app.command()
def limit(
    key_id: Annotated[str, typer.Argument(help="key_...: see keys list.")],
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
) -> None:
    """Change what a key may take a minute; it holds within PENSTOCK_KEY_CACHE_S seconds."""
    rate = some(rates(requests_per_minute, tokens_per_minute))
    in_database("keys", lambda session: keys.limit_key(session, key_id, rate))
    typer.echo(f"{key_id} is limited")


@keys_app.command("list")
def list_keys() -> None:
    """Every key, without its secret."""
    table = Table(
        "id", "tenant", "name", "roles", "created", "revoked", "requests/min", "tokens/min"
    )
    for key, tenant in in_database("keys", keys.listed):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        roles = ", ".join(key.roles)
        table.add_row(key.id, tenant, key.name, roles, created, revoked, *shown(key))
    Console().print(table)


@keys_app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_...: see keys list.")]) -> None:
    """Make a key worthless within PENSTOCK_KEY_CACHE_S seconds."""
    in_database("keys", lambda session: keys.revoke(session, key_id))
    typer.echo(f"{key_id} is revoked")


def rates(requests: str | None, tokens: str | None) -> dict[Unit, int | None]:
    """What was given on the command line; None is the default."""
    given: dict[Unit, str | None] = {"requests": requests, "tokens": tokens}
    return {unit: _number(unit, value) for unit, value in given.items() if value is not None}


def _number(unit: Unit, value: str) -> int | None:
    if value == "default":
        return None
    if not (value.isascii() and value.isdigit()):
        raise typer.BadParameter(
            f"{value!r} is neither a number nor default", param_hint=f"--{unit}-per-minute"
        )
    return int(value)


def some(rate: dict[Unit, int | None]) -> dict[Unit, int | None]:
    if not rate:
        raise typer.BadParameter("give --requests-per-minute, --tokens-per-minute or both")
    return rate


def shown(row: ApiKey | Tenant) -> tuple[str, str]:
    """The limits of a row in a table; empty where the settings decide."""
    limits = (row.requests_per_minute, row.tokens_per_minute)
    first, second = ("" if n is None else str(n) if n else "no limit" for n in limits)
    return first, second
