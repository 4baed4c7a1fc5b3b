"""Health tells the truth about each dependency: here each is stopped, and comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests import asking
from tests.rig import Rig
from tests.waiting import eventually

Client = httpx.AsyncClient
CHECKS = {"postgres", "redis", "kafka", "inference_workers", "storage"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A rig whose parts may be hung."""
    made = Rig(Path(tmp_path_factory.mktemp("health")))
    try:
        made.start_stack()
        made.start("api", "control", "inference")
        yield made
    finally:
        for part in [*made.stack.parts.values(), *made.parts.values()]:
            part.cont()
        made.end()


def _anyone(rig: Rig) -> Client:
    return Client(base_url=rig.base_url, trust_env=False, timeout=30)


async def _ready(client: Client, status: str) -> dict[str, Any]:
    """The answer of /health/ready once its `status` is this."""

    async def asked() -> dict[str, Any] | None:
        answer = await client.get("/health/ready")
        body: dict[str, Any] = answer.json()
        assert set(body) == {"status", "checks"}
        assert set(body["checks"]) == CHECKS
        assert answer.status_code == (503 if body["status"] == "unavailable" else 200)
        return body if body["status"] == status else None

    found = await eventually(asked, f"/health/ready to say {status}")
    assert found is not None
    return found


async def test_a_whole_platform_is_ready_for_anyone_to_see(rig: Rig) -> None:
    async with _anyone(rig) as nobody:
        assert (await nobody.get("/health/live")).json() == {"status": "ok"}
        body = await _ready(nobody, "ok")
        assert set(body["checks"].values()) == {"ok"}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("part", "status"), [("redis", "degraded"), ("kafka", "degraded"), ("postgres", "unavailable")]
)
async def test_a_hung_dependency_is_named_and_only_it(own: Rig, part: str, status: str) -> None:
    async with _anyone(own) as nobody:
        await _ready(nobody, "ok")
        own.stack.parts[part].stop()
        try:
            body = await _ready(nobody, status)
            assert (await nobody.get("/health/live")).status_code == 200
        finally:
            own.stack.parts[part].cont()
        wrong = {name for name, said in body["checks"].items() if said != "ok"}
        # Who is at work is written in Postgres.
        assert wrong == ({part, "inference_workers"} if part == "postgres" else {part})
        for said in body["checks"].values():
            assert "penstock" not in said, "an address or a user in public"
        await _ready(nobody, "ok")


@pytest.mark.fault
async def test_jobs_are_accepted_while_redis_and_kafka_hang(own: Rig) -> None:
    async with own.client(await own.key(new_id("t"))) as client:
        own.stack.parts["redis"].stop()
        own.stack.parts["kafka"].stop()
        try:
            job = await asking.submit(client)
        finally:
            own.stack.parts["redis"].cont()
            own.stack.parts["kafka"].cont()
        assert (await asking.ended(client, job["id"]))["state"] == "succeeded"


@pytest.mark.fault
async def test_without_postgres_nothing_is_accepted_and_the_client_may_retry(own: Rig) -> None:
    async with own.client(await own.key(new_id("t"))) as client:
        assert (await client.get(asking.JOBS)).status_code == 200
        own.stack.parts["postgres"].end()
        try:
            answer = await client.post(asking.JOBS, json=asking.SPEC)
            assert asking.error(answer, 503)["code"] == "unavailable"
            assert answer.headers["retry-after"]
        finally:
            own.stack.parts["postgres"].start()

        async def accepted() -> bool:
            return (await client.post(asking.JOBS, json=asking.SPEC)).status_code == 202

        await eventually(accepted, "jobs to be accepted again")


@pytest.mark.fault
async def test_without_a_worker_jobs_wait_and_health_says_so(own: Rig) -> None:
    async with own.client(await own.key(new_id("t"))) as client:
        await _ready(client, "ok")
        own.parts["inference"].end()
        try:
            body = await _ready(client, "degraded")
            assert body["checks"]["inference_workers"] != "ok"
            job = await asking.submit(client)
        finally:
            own.parts["inference"].start(120)
        assert (await asking.ended(client, job["id"]))["state"] == "succeeded"


async def test_metrics_count_requests_and_jobs_by_route_not_by_path(
    rig: Rig, client: Client
) -> None:
    job = await asking.run(client)
    await client.get(asking.JOBS + "/no-such-thing/at/all")
    text = (await client.get("/metrics")).text
    assert 'penstock_http_requests_total{method="POST",route="/v1/jobs",status="202"}' in text
    assert 'penstock_jobs_accepted_total{kind="inference"}' in text
    assert job["id"] not in text
    assert "no-such-thing" not in text
    async with _anyone(rig) as nobody:
        asking.error(await nobody.get("/metrics"), 401)


@pytest.mark.parametrize(
    ("process", "series"),
    [
        ("control", "penstock_outbox_relayed_total"),
        ("inference", 'penstock_jobs_ended_total{kind="inference",state="succeeded"}'),
        ("webhooks", "process_start_time_seconds"),
    ],
)
async def test_each_process_has_metrics_and_health(
    rig: Rig, client: Client, process: str, series: str
) -> None:
    await asking.run(client)
    base = f"http://127.0.0.1:{rig.ports[process]}"
    async with Client(base_url=base, trust_env=False) as nobody:
        for path in ("/health/live", "/health/ready"):
            assert (await nobody.get(path)).json()["status"] == "ok"

        async def counted() -> bool:
            return series in (await nobody.get("/metrics")).text

        await eventually(counted, f"{series} in the metrics of {process}")
        assert (await nobody.get("/elsewhere")).status_code == 404
