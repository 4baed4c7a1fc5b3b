"""`penstock finetune`: create, watch, list, cancel, pause, resume and report, over the API like any other client.

Exit codes: 0 it worked (watched: the job succeeded), 1 it did not or the API is away, 2 refused input, 130
Ctrl-C, which leaves the job running.
"""

import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from infra.cli import report as pages
from infra.cli import written
from infra.cli.jobs import AsJson, Key, Url
from infra.cli.remote import Remote, opened
from infra.cli.training import JOBS, Training
from infra.cli.training_watch import watch as follow

# What is trained on is sent for; data may be a dataset's version, too.
PURPOSE, DATASET = "fine-tune", "dsv_"
finetune_app = typer.Typer(
    no_args_is_help=True,
    help="Fine-tuning: create, watch, list, cancel, pause, resume, report.",
)
TuningId = Annotated[str, typer.Argument(metavar="JOB", help="ftjob-... (or its job_...)")]


@finetune_app.command()
def create(
    file: Annotated[str, typer.Argument(help="A file here, or an id: file_..., dsv_...")],
    model: Annotated[str, typer.Option(help="A base, or an ft: model to go on from.")],
    suffix: Annotated[str | None, typer.Option(help="Part of the new model's name.")] = None,
    validation: Annotated[str | None, typer.Option(help="Likewise, to measure by.")] = None,
    validation_share: Annotated[float | None, typer.Option(help="Or so much of FILE: 0.1.")] = None,
    method: Annotated[str, typer.Option(help="supervised or dpo.")] = "supervised",
    full: Annotated[
        bool | None, typer.Option("--full/--lora", help="All weights, or an adapter (default).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: chosen by the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    hyper: Annotated[list[str] | None, typer.Option(help="name=value, any other.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same model.")] = None,
    data_format: Annotated[
        str | None, typer.Option("--format", help="chat, completion, alpaca, sharegpt, text, ...")
    ] = None,
    deepspeed: Annotated[str | None, typer.Option(help="auto, none, or a preset.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="name=value.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show it.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Train a model on FILE, which is sent first; prints the job's id, or with --watch its course."""
    chosen: dict[str, Any] = {
        "n_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "tuning": None if full is None else "full" if full else "lora",
        **{name: written.value(given) for name, given in map(written.pair, hyper or ())},
    }
    setting = {"hyperparameters": {k: v for k, v in chosen.items() if v is not None}}
    with opened(url, key, "finetune") as remote:
        given = {
            "model": model,
            "training_file": written.file_id(remote, file, PURPOSE, DATASET),
            "validation_file": written.file_id(remote, validation, PURPOSE, DATASET)
            if validation
            else None,
            "validation_share": validation_share,
            "suffix": suffix,
            "seed": seed,
            "format": data_format,
            "deepspeed": deepspeed,
            "method": {"type": method, method: setting},
            "metadata": dict(map(written.pair, metadata or ())) or None,
        }
        body = {k: v for k, v in given.items() if v is not None}
        headers = {"idempotency-key": secrets.token_hex(16)}
        job = remote.ask("POST", JOBS, json=body, headers=headers)
        if watch:
            _watch(remote, job["id"], as_json)
        else:
            typer.echo(json.dumps(job) if as_json else job["id"])


@finetune_app.command()
def watch(tuning_id: TuningId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Show a job's course until it has ended: on a terminal its curves, else a line for each event."""
    with opened(url, key, "finetune") as remote:
        _watch(remote, _id(tuning_id), as_json)


@finetune_app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Your fine-tuning jobs, newest first; with --json one a line."""
    with opened(url, key, "finetune") as remote:
        found = list(written.listed(remote, JOBS, {}, limit))
    if as_json:
        for job in found:
            typer.echo(json.dumps(job))
        return
    # An id that is cut off is of no use to anybody.
    table = Table(
        Column("id", no_wrap=True, min_width=32),
        "status",
        "model",
        "method",
        "step",
        "loss",
        "new model",
    )
    for job in found:
        last, kind = job.get("metrics") or {}, job["method"]["type"]
        loss = last.get("train_loss", last.get("loss"))
        step = f"{last['step']}/{last.get('total_steps', '?')}" if "step" in last else job["steps"]
        table.add_row(
            job["id"], "paused" if job["paused"] else job["status"], job["model"],
            f"{kind} {job['method'][kind]['hyperparameters'].get('tuning') or ''}",
            str(step or ""), "" if loss is None else f"{loss:.4g}", job["fine_tuned_model"] or "",
        )  # fmt: skip
    Console().print(table)


@finetune_app.command()
def cancel(tuning_id: TuningId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Stop a job for good."""
    _move("cancel", tuning_id, as_json, url, key)


@finetune_app.command()
def pause(tuning_id: TuningId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Save a checkpoint and free the device until the job is resumed."""
    _move("pause", tuning_id, as_json, url, key)


@finetune_app.command()
def resume(tuning_id: TuningId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Go on from the last checkpoint."""
    _move("resume", tuning_id, as_json, url, key)


def _move(verb: str, tuning_id: str, as_json: bool, url: str | None, key: str | None) -> None:
    with opened(url, key, "finetune") as remote:
        job = remote.ask("POST", f"{JOBS}/{_id(tuning_id)}/{verb}")
    done = {"cancel": job["status"] == "cancelled", "pause": job["paused"], "resume": True}
    said = {"cancel": "cancelled", "pause": "paused", "resume": "resumed"}[verb]
    if not done[verb]:
        said = "asked to stop" if verb == "cancel" else "asked to save and stop"
    typer.echo(json.dumps(job) if as_json else f"{job['id']} {said}")


@finetune_app.command()
def report(
    tuning_id: TuningId,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("report.html"),
    url: Url = None,
    key: Key = None,
) -> None:
    """One HTML page about a job that stands alone: curves, settings, data, checkpoints, lineage."""
    with opened(url, key, "finetune") as remote:
        page = pages.page(pages.gather(remote, Training(_id(tuning_id))))
    try:
        out.write_text(page)
    except OSError as error:
        typer.echo(f"penstock finetune: {out}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(str(out))


def _watch(remote: Remote, tuning_id: str, as_json: bool) -> None:
    if follow(remote, Training(tuning_id), as_json=as_json).job["status"] != "succeeded":
        raise typer.Exit(1)


def _id(said: str) -> str:
    """Both surfaces show the same job, each under an id of its own."""
    return f"ftjob-{said[4:]}" if said.startswith("job_") else said
