"""`penstock tenants`: list tenants, and limit what all keys of one take together."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.security import keys
from infra.cli.database import in_database
from infra.cli.keys import Requests, Tokens, rates, shown, some

tenants_app = typer.Typer(no_args_is_help=True, help="Tenants: limit, list.")


@tenants_app.command()
def limit(
    tenant: Annotated[str, typer.Argument(help="Its name: see tenants list.")],
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
) -> None:
    """Change what all keys of a tenant may take a minute; it holds within PENSTOCK_KEY_CACHE_S seconds."""
    rate = some(rates(requests_per_minute, tokens_per_minute))
    in_database("tenants", lambda session: keys.limit_tenant(session, tenant, rate))
    typer.echo(f"{tenant} is limited")


@tenants_app.command("list")
def list_tenants() -> None:
    """Every tenant with its own limits; empty where the settings decide."""
    table = Table("id", "name", "created", "requests/min", "tokens/min")
    for tenant in in_database("tenants", keys.tenants):
        created = f"{tenant.created_at:%Y-%m-%d %H:%M}"
        table.add_row(tenant.id, tenant.name, created, *shown(tenant))
    Console().print(table)
