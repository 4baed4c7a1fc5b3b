"""The `penstock` command: starts the processes, and mounts what speaks to them."""

import pkgutil
import resource
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from core.config import settings
from infra.cli.audit import audit_app
from infra.cli.finetune import finetune_app
from infra.cli.gate import gate_app
from infra.cli.guard import guard_app
from infra.cli.jobs import jobs_app
from infra.cli.keys import keys_app
from infra.cli.models import models_app
from infra.cli.plan import plan
from infra.cli.tenants import tenants_app
from infra.cli.usage import usage
from infra.folder import FolderInUse
from infra.part import PartFailed

# A stream is cut after so long when the API stops; its client resumes at the next one.
STREAMS_END_S = 5

# Plain tracebacks: these are servers with logs, and a pretty one shows locals, keys among them.
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(keys_app, name="keys")
app.add_typer(tenants_app, name="tenants")
app.add_typer(jobs_app, name="jobs")
app.add_typer(models_app, name="models")
app.add_typer(gate_app, name="gate")
app.add_typer(guard_app, name="guard")
finetune_app.command()(plan)
app.add_typer(finetune_app, name="finetune")
app.add_typer(audit_app, name="audit")
app.command()(usage)


class Kind(StrEnum):
    """The workers there are; each is a function of that name in workers.main."""

    inference = "inference"
    embedding = "embedding"
    finetune = "finetune"
    webhooks = "webhooks"


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="Where the data live.")] = Path(".penstock"),
    port: Annotated[int, typer.Option(help="The API's port.", min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="The API's address.")] = "127.0.0.1",
    demo: Annotated[bool, typer.Option(help="Run one job when all is ready.")] = False,
) -> None:
    """Run everything on this machine: Postgres, Redis, Kafka protocol, api, control, workers."""
    try:
        load("infra.up:up")(data_dir, host, port, show=demo)
    except (PartFailed, FolderInUse) as error:
        typer.echo(f"penstock up: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Default: PENSTOCK_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: PENSTOCK_PORT.")] = None,
) -> None:
    """Serve HTTP."""
    config = settings()
    # Every open stream is a file; the usual soft limit of 1024 is below sse_max_connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=host or config.host,
        port=port or config.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=STREAMS_END_S,
    )


@app.command()
def control() -> None:
    """Relay, dispatch, rescue and feed webhooks; any number may run."""
    load("workers.control:main")()


@app.command()
def worker(kind: Annotated[Kind, typer.Argument(help="What it runs.")]) -> None:
    """Run jobs (inference, embedding, finetune) or deliver webhooks."""
    load(f"workers.main:{kind.value}")()


@app.command()
def migrate() -> None:
    """Bring the database to the newest version."""
    load("infra.migrate:migrate")()


def load(name: str) -> Callable[..., None]:
    """The function of this name: so api never loads Celery nor a worker FastAPI."""
    function: Callable[..., None] = pkgutil.resolve_name(name)
    return function


if __name__ == "__main__":
    app()
