"""`penstock keys`: make, list and revoke API keys, straight in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from core.config import settings
from core.db.session import Database
from core.errors import PenstockError
from core.security import keys

keys_app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")
Answer = TypeVar("Answer")


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


def _in_database(work: Callable[[AsyncSession], Awaitable[Answer]]) -> Answer:
    async def run() -> Answer:
        database = Database(settings(), name="cli", pool=1)
        try:
            async with database.begin() as session:
                return await work(session)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except PenstockError as error:
        message = error.message
    except OperationalError as error:
        # The driver's words name host and port, never the password.
        message = (
            f"{error.orig}\nSet DATABASE_URL; under penstock up it is in ready.json, urls.postgres"
        )
    typer.echo(f"penstock keys: {message}", err=True)
    raise typer.Exit(1)
