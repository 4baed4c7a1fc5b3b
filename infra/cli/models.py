"""`penstock models`: which there are and what their tokens cost, straight in the database."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.catalog import models, prices
from core.config import settings
from core.errors import InvalidInput
from core.ledger.caps import plain
from infra.cli.database import in_database

models_app = typer.Typer(no_args_is_help=True, help="Models: list them, set their prices.")


@models_app.command("list")
def list_models() -> None:
    """Every model that a worker has served, with its prices for a million tokens."""
    table = Table("model", "context", f"in ({settings().currency})", "out", "cached")
    for one in in_database("models", models.listed):
        amounts = (one.prices.ask, one.prices.say, one.prices.cached)
        table.add_row(one.name, str(one.context), *map(plain, amounts))
    Console().print(table)


@models_app.command()
def price(
    name: Annotated[str, typer.Argument(help="See models list.")],
    ask: Annotated[str, typer.Option("--in", help="A million tokens of prompts.")],
    say: Annotated[str, typer.Option("--out", help="A million tokens of answers.")],
    cached: Annotated[
        str | None, typer.Option("--cached", help="Prompt tokens already there; default: as --in.")
    ] = None,
) -> None:
    """Set what jobs accepted from now on will cost."""
    try:
        made = prices.checked(ask, say, cached)
    except InvalidInput as error:
        raise typer.BadParameter(error.message, param_hint=f"--{error.param}") from error
    in_database("models", lambda session: models.price(session, name, made))
    typer.echo(
        f"{name}: in {plain(made.ask)}, out {plain(made.say)}, cached {plain(made.cached)} "
        f"{settings().currency} for a million tokens"
    )
