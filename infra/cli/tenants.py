"""`penstock tenants`: list them and weigh their shares, straight in the database."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.security import keys
from infra.cli.straight import in_database

tenants_app = typer.Typer(no_args_is_help=True, help="Tenants: list, weight.")


@tenants_app.command("list")
def list_tenants() -> None:
    """Every tenant, its weight, and how many keys it has that work."""
    table = Table("id", "name", "weight", "keys", "created")
    for tenant, count in in_database("penstock tenants", keys.tenants):
        created = f"{tenant.created_at:%Y-%m-%d %H:%M}"
        table.add_row(tenant.id, tenant.name, f"{tenant.weight:g}", str(count), created)
    Console().print(table)


@tenants_app.command()
def weight(
    name: Annotated[str, typer.Argument(help="The tenant: see tenants list.")],
    weight: Annotated[float, typer.Argument(help="0.01 to 1000; 3 gets three times what 1 gets.")],
) -> None:
    """Give a tenant its share of every queue, beside the others' weights; from its next job on."""
    in_database("penstock tenants", lambda session: keys.weigh(session, name, weight))
    typer.echo(f"{name} has weight {weight:g}")
