"""The whole road on real processes: a job's facts, Kafka, the feeder, Celery, a worker, a receiver."""

import httpx
import orjson
from standardwebhooks import Webhook

from tests.fakes.receiver import receiver, reply


async def test_a_jobs_facts_reach_its_tenants_endpoint(client: httpx.AsyncClient) -> None:
    async with receiver() as there:
        wanted = ["job.queued", "job.started", "job.succeeded"]
        new = {"name": "road", "url": there.url, "event_types": wanted}
        made = (await client.post("/v1/webhook_endpoints", json=new)).json()
        job = (await client.post("/v1/jobs", json={"kind": "inference", "prompt": "a"})).json()
        await there.until(3)
    bodies = {}
    for request in there.requests:
        Webhook(made["signing_secret"]).verify(request.body, request.headers)
        body = orjson.loads(request.body)
        assert body["data"]["id"] == job["id"]
        assert body["id"] == request.headers["webhook-id"]
        bodies[body["type"]] = body
    assert sorted(bodies) == sorted(wanted)
    assert bodies["job.succeeded"]["data"]["state"] == "succeeded"


async def test_a_test_delivery_is_tried_again_until_it_is_taken(client: httpx.AsyncClient) -> None:
    async with receiver() as there:
        there.replies.append(reply(503, retry_after="1"))
        new = {"name": "road", "url": there.url, "event_types": ["job.failed"]}
        made = (await client.post("/v1/webhook_endpoints", json=new)).json()
        path = f"/v1/webhook_endpoints/{made['id']}"
        tested = await client.post(f"{path}/test", json={"event_type": "job.failed"})
        assert tested.json()["error"]["code"] == "test_failed"
        await there.until(2)
    assert len(set(there.ids)) == 1
