"""`penstock models`: what there is, its prices, stages and aliases, and what nobody needs; straight in the database."""

from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import aliases, models, prices, stages, versions
from core.catalog.tables import Version
from core.config import settings
from core.errors import InvalidInput, NotFound
from core.ledger.caps import plain
from core.security.keys import Caller, Tenant
from core.storage.place import storage_of
from infra.cli.database import in_database, on_database
from workers import catalog

models_app = typer.Typer(no_args_is_help=True, help="Models: list, price, stage, roll back, gc.")
# Who is recorded to have moved what, where no key did.
BY = "command line"

TenantName = Annotated[str, typer.Option("--tenant", help="Whose: see tenants list.")]
Reason = Annotated[str, typer.Option(help="Kept with the move, for whoever asks later.")]
VersionName = Annotated[str, typer.Argument(help="ft:...; see models list.")]


@models_app.command("list")
def list_models() -> None:
    """Every model that a worker has served, with its prices for a million tokens; then every version."""
    table = Table("model", "context", f"in ({settings().currency})", "out", "cached")
    for one in in_database("models", models.listed):
        amounts = (one.prices.ask, one.prices.say, one.prices.cached)
        table.add_row(one.name, str(one.context), *map(plain, amounts))
    Console().print(table)
    made = in_database("models", _versions)
    if made:
        table = Table("version", "tenant", "stage", "number", "digest", "made")
        for version, tenant in made:
            when = f"{version.created_at:%Y-%m-%d %H:%M}"
            number = str(version.number)
            table.add_row(version.name, tenant, version.stage, number, version.digest[:12], when)
        Console().print(table)


async def _versions(session: AsyncSession) -> list[tuple[Version, str]]:
    rows = await session.execute(
        select(Version, Tenant.name)
        .join(Tenant, Tenant.id == Version.tenant_id)
        .where(Version.published_at.is_not(None))
        .order_by(Version.id)
    )
    return [(version, tenant) for version, tenant in rows]


@models_app.command()
def show(name: VersionName, tenant: TenantName) -> None:
    """Everything known of a version, as JSON: digest, lineage, metrics, its moves between stages, its aliases."""
    typer.echo(
        orjson.dumps(
            in_database("models", lambda s: _shown(s, name, tenant)), option=orjson.OPT_INDENT_2
        )
    )


async def _shown(session: AsyncSession, name: str, tenant: str) -> dict[str, Any]:
    caller = await _caller(session, tenant)
    found = await versions.get(session, caller, name)
    moves = await stages.history(session, caller, found.id)
    named = [
        a.name for a in await aliases.listed(session, caller.tenant_id) if a.version_id == found.id
    ]
    told = ("id", "name", "kind", "base", "base_digest", "number", "stage", "digest", "job_id", "lineage",
            "metrics", "context", "created_at", "published_at", "retired_at")  # fmt: skip
    history = [
        {"was": m.was, "stage": m.stage, "by": m.key_id, "reason": m.reason, "at": m.at}
        for m in moves
    ]
    return {n: getattr(found, n) for n in told} | {"aliases": named, "history": history}


@models_app.command()
def stage(
    name: VersionName,
    stage: Annotated[str, typer.Argument(help=f"{', '.join(stages.MOVES)}.")],
    tenant: TenantName,
    reason: Reason = "",
) -> None:
    """Give a version another stage, one step at a time."""

    async def move(session: AsyncSession) -> Version:
        caller = await _caller(session, tenant)
        return await stages.move(session, caller, name, stage, reason)

    moved = in_database("models", move)
    typer.echo(f"{moved.name} is in {moved.stage}")


@models_app.command()
def rollback(
    alias: Annotated[str, typer.Argument(help="The alias, e.g. prod.")],
    tenant: TenantName,
    reason: Reason = "",
) -> None:
    """Have an alias lead to what it led to before; again: one further back."""

    async def back(session: AsyncSession) -> str:
        caller = await _caller(session, tenant)
        return (await aliases.rollback(session, caller, alias, reason)).target

    typer.echo(f"{alias} leads to {in_database('models', back)}")


@models_app.command()
def gc() -> None:
    """Delete now what control deletes every ten minutes: artefacts of nothing that is still needed."""
    config = settings()
    done = on_database("models", lambda db: catalog.collect(db, storage_of(config), config))
    typer.echo(
        f"{len(done.artifacts)} artefacts collected ({done.bytes} bytes), "
        f"{done.unclaimed} unclaimed files deleted"
    )


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


async def _caller(session: AsyncSession, tenant: str) -> Caller:
    found = await session.scalar(select(Tenant.id).where(Tenant.name == tenant))
    if found is None:
        raise NotFound(
            f"No tenant {tenant[:64]!r}. List them: penstock tenants list", param="tenant"
        )
    return Caller(found, BY)
