"""`penstock jobs`: submit, get, watch, cancel and list, over the API like any other client.

Exit codes: 0 the job succeeded, 1 it did not or the API is away, 2 refused input, 130 Ctrl-C, which
leaves the job running.
"""

import json
import secrets
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.cli import written
from infra.cli.remote import Remote, opened
from infra.cli.watch import watch as follow

jobs_app = typer.Typer(no_args_is_help=True, help="Jobs: submit, get, watch, cancel, list.")

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="PENSTOCK_URL", help="Default: that of penstock up here."),
]
Key = Annotated[
    str | None,
    # show_default would print a key from the environment into a help page.
    typer.Option("--api-key", envvar="PENSTOCK_API_KEY", show_default=False, help="Likewise."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="job_...")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@jobs_app.command()
def submit(
    prompt: Annotated[str | None, typer.Option(help="Text to go on from.")] = None,
    message: Annotated[
        list[str] | None, typer.Option(help="role:text, in order; a bare text is the user's.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A name or alias; default: the default.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="At most so many tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_k: Annotated[int | None, typer.Option(help="0: no limit.")] = None,
    top_p: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text.")] = None,
    priority: Annotated[str | None, typer.Option(help="interactive or batch.")] = None,
    completion_window: Annotated[str | None, typer.Option(help="90s, 24h: then expired.")] = None,
    max_tokens_total: Annotated[
        int | None, typer.Option(help="Stop at so many, the prompt's included.")
    ] = None,
    max_cost: Annotated[str | None, typer.Option(help="Stop at this cost: 0.05.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="name=value.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key again is the same job.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show it.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Submit an inference job; prints its id, or with --watch its text."""
    given = {
        "prompt": prompt,
        "messages": [_message(one) for one in message or ()] or None,
        "model": model,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "stop": stop or None,
        "priority": priority,
        "completion_window": completion_window,
        "max_tokens_total": max_tokens_total,
        "max_cost": max_cost,
        "metadata": dict(map(written.pair, metadata or ())) or None,
    }
    spec = {"kind": "inference", **{k: v for k, v in given.items() if v is not None}}
    with opened(url, key, "jobs") as remote:
        # With a key of its own a submission can be sent again when its answer was lost on the way.
        headers = {"idempotency-key": idempotency_key or secrets.token_hex(16)}
        job = remote.ask("POST", "/v1/jobs", json=spec, headers=headers)
        if watch:
            _watch(remote, job["id"], as_json)
        else:
            typer.echo(json.dumps(job) if as_json else job["id"])


@jobs_app.command()
def get(job_id: JobId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Show a job: its state, and its text or error."""
    with opened(url, key, "jobs") as remote:
        job = remote.ask("GET", f"/v1/jobs/{job_id}")
    if as_json:
        typer.echo(json.dumps(job))
        return
    table = Table(show_header=False, box=None)
    for name in ("id", "state", "attempt", "model", "priority", "queue_position", "waiting_for",
                 "waiting_note", "eta_s", "created_at", "started_at", "finished_at", "cost"):  # fmt: skip
        # An API that is older than this command knows some of them not.
        if job.get(name) is not None:
            table.add_row(name, str(job[name]))
    for name in ("usage", "metadata"):
        for part, value in (job[name] or {}).items():
            table.add_row(f"{name}.{part}", str(value))
    if job["error"]:
        table.add_row("error", f"{job['error']['message']} ({job['error']['code']})")
    Console().print(table)
    if job["result"]:
        # Only an answer is text; what other kinds come to is data.
        result = job["result"]
        typer.echo(f"\n{result['text'] if 'text' in result else json.dumps(result, indent=2)}")


@jobs_app.command()
def watch(job_id: JobId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Show a job's text as it is made, from its beginning, until it has ended."""
    with opened(url, key, "jobs") as remote:
        _watch(remote, job_id, as_json)


@jobs_app.command()
def cancel(job_id: JobId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Stop a job; the text it has so far is kept."""
    with opened(url, key, "jobs") as remote:
        job = remote.ask("POST", f"/v1/jobs/{job_id}/cancel")
    said = job["state"] if job["state"] == "cancelled" else "asked to stop"
    typer.echo(json.dumps(job) if as_json else f"{job['id']} {said}")


@jobs_app.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, ...")] = None,
    kind: Annotated[str | None, typer.Option(help="inference")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Your jobs, newest first; with --json one a line."""
    query = {k: v for k, v in (("state", state), ("kind", kind)) if v is not None}
    with opened(url, key, "jobs") as remote:
        found = list(written.listed(remote, "/v1/jobs", query, limit))
    if as_json:
        for job in found:
            typer.echo(json.dumps(job))
        return
    table = Table("id", "state", "attempt", "model", "created", "tokens", "waits for", "ends in")
    for job in found:
        tokens = str((job["usage"] or {}).get("completion_tokens", ""))
        created = job["created_at"][:19].replace("T", " ")
        ends = "" if job.get("eta_s") is None else f"{job['eta_s']:g} s"
        waits = " ".join(str(job[n]) for n in ("waiting_for", "queue_position") if job.get(n))
        table.add_row(
            job["id"], job["state"], str(job["attempt"]), job["model"], created, tokens, waits, ends
        )
    Console().print(table)


def _watch(remote: Remote, job_id: str, as_json: bool) -> None:
    if follow(remote, job_id, as_json=as_json).state != "succeeded":
        raise typer.Exit(1)


def _message(said: str) -> dict[str, str]:
    role, colon, content = said.partition(":")
    if colon and role in ("system", "user", "assistant"):
        return {"role": role, "content": content}
    return {"role": "user", "content": said}
