"""`penstock gate`: would a model pass, what stands and why, which policy holds, and passing by name; over the API."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.cli.jobs import AsJson, Key, Url
from infra.cli.remote import opened

gate_app = typer.Typer(no_args_is_help=True, help="The gate: check, show, set, policies, force.")
# For scripts that ship: 1 is found wanting, 2 is not shown, 3 is not measured.
EXITS = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "MISSING": 2, "INVALID": 3}
UNASKED = 4

Door = Annotated[str, typer.Option(help='"production", or "alias:" and its name.')]
Reason = Annotated[str, typer.Option(help="Why, kept with your key's id.")]
Days = Annotated[int, typer.Option(help="After so many days it is withdrawn.", min=1, max=30)]
Model = Annotated[str, typer.Argument(help="ft:..., a served model, or an alias.")]


@gate_app.command()
def check(
    model: Model,
    door: Door = "production",
    policy: Annotated[str, typer.Option(help="Another than the gate's: name or name@2.")] = "",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Would it pass? Ends with 0: yes, 1: it failed, 2: not shown, 3: not measured (INVALID), 4: could not ask."""
    asked = {"model": model, "door": door, "policy": policy}
    try:
        with opened(url, key, "gate check") as api:
            found = api.ask("POST", "/v1/gate/check", json=asked)
    except typer.Exit as error:
        # Nobody may take an API that is away for a model that failed.
        raise typer.Exit(UNASKED) from error
    if as_json:
        _dump(found)
    else:
        by = f" by {found['audit']}" if found["audit"] else ""
        typer.echo(f"{found['verdict']}: {found['model']}, {door}, {found['policy']}{by}")
        for why in found["why"]:
            typer.echo(f"  {why}")
        if found["next"]:
            typer.echo(f"\n{found['next']}")
    raise typer.Exit(EXITS[found["verdict"]])


@gate_app.command()
def show(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """The policy that holds, and what stands behind its doors."""
    with opened(url, key, "gate show") as api:
        found = api.ask("GET", "/v1/gate")
    _shown(found, as_json)


@gate_app.command(name="set")
def set_policy(
    policy: Annotated[str, typer.Argument(help="name, or name@2.")],
    reason: Reason = "",
    grace_reason: Annotated[
        str, typer.Option(help="Let what does not pass it stand for now: why.")
    ] = "",
    grace_days: Days = 14,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Have the gate go by another policy; takes a key with the role risk-owner."""
    wanted: dict[str, Any] = {"policy": policy, "reason": reason}
    if grace_reason:
        wanted["grace"] = {"reason": grace_reason, "expires_in_days": grace_days}
    with opened(url, key, "gate set") as api:
        found = api.ask("PUT", "/v1/gate", json=wanted)
    _shown(found, as_json)


@gate_app.command()
def policies(
    name: Annotated[str, typer.Argument(help="Show this one whole: name or name@2.")] = "",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List the policies, or show one."""
    with opened(url, key, "gate policies") as api:
        found = api.ask("GET", f"/v1/policies/{name}" if name else "/v1/policies")
    if name or as_json:
        _dump(found)
        return
    table = Table("policy", "checks", "digest", "made")
    for one in found["data"]:
        made = one["created_at"] or "with Penstock"
        checks = str(len(one["body"]["checks"]))
        table.add_row(f"{one['name']}@{one['version']}", checks, one["digest"][:12], made)
    Console().print(table)


@gate_app.command()
def make(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    file: Annotated[Path, typer.Argument(help="The policy as JSON.", exists=True, dir_okay=False)],
    url: Url = None,
    key: Key = None,
) -> None:
    """Make a version of a policy from a file; the gate goes by it once `set` says so."""
    try:
        body = json.loads(file.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}", param_hint="file") from error
    if not isinstance(body, dict):
        raise typer.BadParameter(f"{file} holds no policy", param_hint="file")
    with opened(url, key, "gate make") as api:
        made = api.ask("POST", "/v1/policies", json={**body, "name": name})
    typer.echo(f"{made['name']}@{made['version']} {made['digest']}")


@gate_app.command()
def force(
    model: Model,
    reason: Reason,
    days: Days,
    door: Door = "production",
    url: Url = None,
    key: Key = None,
) -> None:
    """Let a model through without evidence, by name and for a time; takes a key with the role risk-owner."""
    forced = {"force": {"reason": reason, "expires_in_days": days}, "reason": reason}
    with opened(url, key, "gate force") as api:
        if door.startswith("alias:"):
            path, wanted = f"/v1/aliases/{door.removeprefix('alias:')}", {"model": model}
            api.ask("PUT", path, json={**wanted, **forced})
        else:
            path, wanted = f"/v1/models/{model}/stage", {"stage": door}
            api.ask("POST", path, json={**wanted, **forced})
    typer.echo(f"{model} is through {door}; it is withdrawn after {days} days")


def _shown(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _dump(found)
        return
    aliases = ", ".join(found["doors"]["aliases"])
    typer.echo(f"policy {found['policy']}; doors: production, aliases {aliases}")
    table = Table("door", "model", "stands", "on", "until")
    for one in found["standing"]:
        on = f"forced: {one['reason']}" if one["forced"] else one["audit"] or ""
        stands = "yes" if one["stands"] else f"no: {one['why']}"
        table.add_row(one["door"], one["model"], stands, on, (one["expires_at"] or "")[:10])
    Console().print(table)


def _dump(found: dict[str, Any]) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
