"""`penstock tenants`: list them, weigh their shares, limit what all keys of one take; straight in the database."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.security import keys
from infra.cli.database import in_database
from infra.cli.keys import Requests, Tokens, rates, shown, some

tenants_app = typer.Typer(no_args_is_help=True, help="Tenants: list, weight, limit.")
Name = Annotated[str, typer.Argument(help="The tenant: see tenants list.")]


@tenants_app.command("list")
def list_tenants() -> None:
    """Every tenant: its weight, how many keys it has that work, its limits (empty: as the settings say)."""
    table = Table("id", "name", "weight", "keys", "requests/min", "tokens/min", "created")
    for tenant, count in in_database("tenants", keys.tenants):
        created = f"{tenant.created_at:%Y-%m-%d %H:%M}"
        weight = f"{tenant.weight:g}"
        table.add_row(tenant.id, tenant.name, weight, str(count), *shown(tenant), created)
    Console().print(table)


@tenants_app.command()
def weight(
    name: Name,
    weight: Annotated[float, typer.Argument(help="0.01 to 1000; 3 gets three times what 1 gets.")],
) -> None:
    """Give a tenant its share of every queue, beside the others' weights; from its next job on."""
    in_database("tenants", lambda session: keys.weigh(session, name, weight))
    typer.echo(f"{name} has weight {weight:g}")


@tenants_app.command()
def limit(
    name: Name,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
) -> None:
    """Change what all keys of a tenant may take a minute; it holds within PENSTOCK_KEY_CACHE_S seconds."""
    rate = some(rates(requests_per_minute, tokens_per_minute))
    in_database("tenants", lambda session: keys.limit_tenant(session, name, rate))
    typer.echo(f"{name} is limited")
