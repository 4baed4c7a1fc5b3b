"""`penstock keys`: make, list and revoke API keys, straight in the database."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.security import keys
from infra.cli.straight import in_database

keys_app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")
_in_database = partial(in_database, "penstock keys")


@keys_app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose it is; made when new.")] = "default",
    name: Annotated[str, typer.Option(help="What it is for.")] = "cli",
) -> None:
    """Make a key and print it, this once."""
    _, key = _in_database(lambda session: keys.create(session, tenant=tenant, name=name))
    typer.echo(key)


@keys_app.command("list")
def list_keys() -> None:
    """Every key, without its secret."""
    table = Table("id", "tenant", "name", "created", "revoked")
    for key, tenant in _in_database(keys.listed):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        table.add_row(key.id, tenant, key.name, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    Console().print(table)


@keys_app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_...: see keys list.")]) -> None:
    """Make a key worthless within PENSTOCK_KEY_CACHE_S seconds."""
    _in_database(lambda session: keys.revoke(session, key_id))
    typer.echo(f"{key_id} is revoked")
