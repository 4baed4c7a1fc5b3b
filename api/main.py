"""create_app(): routes, middleware and error handling meet here, nowhere else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import structlog
from fastapi import FastAPI

from api import errors
from api.deps import CallerDep, Parts
from api.limits import RateLimits
from api.middleware import Around, BodyLimit
from api.multipart import OVERHEAD_BYTES
from api.routes import (
    audit_exports,
    audit_reports,
    audits,
    cache,
    catalog,
    corrections,
    events,
    gate,
    generate,
    guard,
    health,
    jobs,
    policies,
    usage,
    webhooks,
)
from api.routes.openai import (
    batch_stream,
    batches,
    chat,
    completions,
    embeddings,
    eval_runs,
    evals,
    files,
    finetuning,
    moderations,
    responses,
    uploads,
)
from api.routes.openai import models as openai_models
from api.streams import Hub
from core import status, telemetry
from core.config import Settings, settings
from core.db.session import Database
from core.events.log import EventLog, connect
from core.files.uploads import MAX_PART
from core.forever import forever, stopped
from core.security.limits import LIMITS_S, Buckets
from core.storage.place import storage_of

log = structlog.get_logger(__name__)

# A request that waits longer for Postgres is answered 503: its client can try again, a hung one cannot.
DATABASE_S = 5.0


def create_app(config: Settings | None = None) -> FastAPI:
    """One API process. Stateless: any number may stand behind one address."""
    config = config or settings()
    telemetry.setup(config, process="api")
    app = FastAPI(
        title="Penstock",
        summary="Jobs for language models: once accepted, never lost.",
        version="0.1.0",
        lifespan=lambda app: _lifespan(app, config),
        redirect_slashes=False,
        # Every route but health needs a key; a docs page in a browser could not send one.
        openapi_url=None,
    )
    native = (jobs, events, generate, cache, usage, webhooks, catalog, health)
    audit = (audits, audit_exports, audit_reports, corrections, gate, policies, guard)
    texts = (chat, completions, embeddings, responses, openai_models)
    records = (files, uploads, batches, batch_stream, finetuning, evals, eval_runs)
    theirs = (*texts, *records, moderations)
    for module in (*native, *audit, *theirs):
        app.include_router(module.router)
    app.add_middleware(
        BodyLimit,
        limit=config.max_body_bytes,
        larger={
            "/v1/files": config.max_file_bytes + OVERHEAD_BYTES,
            "/v1/uploads/[^/]+/parts": MAX_PART + OVERHEAD_BYTES,
        },
    )
    app.add_middleware(Around)
    errors.install(app)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(_: CallerDep) -> dict[str, Any]:
        """The API's description, for clients and for tests."""
        return app.openapi()

    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI, config: Settings) -> AsyncIterator[None]:
    database = Database(config, name="api", limit_s=DATABASE_S)
    redis = connect(config)
    events_log = EventLog(redis, config)
    hub = Hub(config, database, events_log, redis)
    # Connections of its own, with less patience: a limit must not wait behind readers.
    buckets = connect(config, timeout_s=LIMITS_S)
    limits = RateLimits(config, database, Buckets(buckets))
    parts = Parts(config, database, events_log, hub, storage_of(config), limits)
    app.state.parts = parts
    status.serve(config, {})
    loops = {"bells": hub.listen, "fetch": hub.fetch, "sweep": hub.sweep, "pokes": parts.poking}
    tasks = [asyncio.create_task(forever(name, loop)) for name, loop in loops.items()]
    tasks.append(asyncio.create_task(parts.caching.announce()))
    yield
    await stopped(tasks)
    await buckets.aclose()
    await redis.aclose()
    await database.close()
