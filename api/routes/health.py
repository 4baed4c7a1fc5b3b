"""Health that tells the truth about each dependency, and this process's metrics."""

import asyncio
from collections.abc import Awaitable
from typing import Literal

import orjson
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from api.deps import CallerDep, Parts, PartsDep
from api.errors import ErrorEnvelope

router = APIRouter(tags=["health"])
TIMEOUT_S = 2.0


class Ready(BaseModel):
    """`checks`: ok, or what is wrong, by dependency."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, str]


@router.get("/health/live")
async def live() -> dict[str, str]:
    """This process turns its loop."""
    return {"status": "ok"}


@router.get(
    "/health/ready",
    responses={200: {"model": Ready}, 503: {"model": Ready, "description": "Postgres is away"}},
)
async def ready(parts: PartsDep) -> Response:
    """200 while jobs can be accepted, which needs Postgres alone; `degraded` when they will be delayed."""
    names = ("postgres", "redis", "kafka", "inference_workers", "storage")
    checks = (
        _postgres(parts), _redis(parts), _kafka(parts), _workers(parts), parts.storage.check(),
    )  # fmt: skip
    found = dict(zip(names, await asyncio.gather(*(_within(c) for c in checks)), strict=True))
    accepting = found["postgres"] == "ok"
    well = all(value == "ok" for value in found.values())
    status = "ok" if well else "degraded" if accepting else "unavailable"
    body = {"status": status, "checks": found}
    return Response(orjson.dumps(body), 200 if accepting else 503, media_type="application/json")


@router.get(
    "/metrics",
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        401: {"model": ErrorEnvelope},
    },
    response_class=Response,
)
async def metrics(_: CallerDep) -> Response:
    """Prometheus text format of this process; without a key on PENSTOCK_METRICS_PORT."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _within(check: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await check
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except Exception as error:
        # The class alone: a driver's message can hold the address and the user.
        return f"unavailable: {type(error).__name__}"
    return "ok"


async def _postgres(parts: Parts) -> None:
    async with parts.db.begin() as session:
        await session.execute(text("SELECT 1"))


async def _redis(parts: Parts) -> None:
    await parts.log.redis.ping()


async def _kafka(parts: Parts) -> None:
    host, _, port = parts.settings.kafka_bootstrap_servers.split(",")[0].rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()


async def _workers(parts: Parts) -> None:
    async with parts.db.begin() as session:
        alive = await session.scalar(
            text(
                "SELECT count(*) FROM workers WHERE role = 'inference' AND NOT draining"
                " AND last_seen > now() - interval '10 s'"
            )
        )
    if not alive:
        raise LookupError("no worker")
