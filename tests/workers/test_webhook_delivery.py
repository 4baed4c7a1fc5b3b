"""One delivery from doorbell to record, on a real Postgres and a real receiver."""

import asyncio

import pytest
import structlog
from prometheus_client import REGISTRY
from sqlalchemy.exc import SQLAlchemyError
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from core.config import Settings
from core.db.session import Database
from core.security.keys import Caller
from core.webhooks import deliveries, endpoints, signing, tries
from core.webhooks.addresses import Guard
from core.webhooks.retry import Answer
from tests.fakes import webhooks as given
from tests.fakes.receiver import Receiver, drip, reply, reset
from tests.fakes.webhooks import PUBLIC, Names
from workers.webhooks import handler
from workers.webhooks.handler import Runtime, deliver


async def _one(database: Database, caller: Caller, url: str, **columns: object) -> tuple[str, str]:
    endpoint = await given.endpoint(database, caller, url, **columns)
    return endpoint, await given.delivery(database, endpoint)


def _count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_delivery_arrives_signed_and_is_done(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    secret = signing.new_secret()
    endpoint = await given.endpoint(database, caller, there.url, secret=secret)
    one = await given.delivery(database, endpoint, '{"type": "job.succeeded", "x": "é"}')
    before = _count("penstock_webhook_deliveries_total", outcome="delivered")
    await deliver(runtime, one)
    (request,) = there.requests
    Webhook(secret).verify(request.body, request.headers)
    row = await given.row(database, "webhook_deliveries", one)
    assert request.headers["webhook-id"] == row["event_id"]
    assert request.body == row["body"].encode()
    assert (row["state"], row["tries"], row["last_status"]) == ("delivered", 1, 200)
    assert row["delivered_at"] is not None
    assert row["lease_until"] is row["rung_at"] is row["next_at"] is None
    assert _count("penstock_webhook_deliveries_total", outcome="delivered") == before + 1


async def test_three_failures_then_success(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    endpoint, one = await _one(database, caller, there.url)
    there.replies.extend([reply(500, b"oh no"), reset(), reply(302, location=PUBLIC)])
    seen = []
    for _ in range(4):
        await deliver(runtime, one)
        row = await given.row(database, "webhook_deliveries", one)
        health = await given.row(database, "webhook_endpoints", endpoint)
        seen.append(
            (row["state"], row["tries"], row["last_status"], health["consecutive_failures"])
        )
    assert seen == [
        ("pending", 1, 500, 1), ("pending", 2, None, 2), ("pending", 3, 302, 3),
        ("delivered", 4, 200, 0),
    ]  # fmt: skip
    assert health["failing_since"] is None
    assert len(set(there.ids)) == 1


async def test_a_failure_waits_as_the_schedule_says(
    database: Database, caller: Caller, there: Receiver
) -> None:
    runtime = given.runtime(database, webhook_schedule_s=[0, 300, 1800])
    _, one = await _one(database, caller, there.url)
    there.always = reply(500, b"oh no")
    await deliver(runtime, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert row["last_response"] == "oh no"
    assert row["last_error"] == "answered 500"
    assert 265 <= row["due_in"] <= 330
    assert row["rung_at"] is None
    await deliver(runtime, one)  # a doorbell too early changes nothing
    assert len(there.requests) == 1
    await given.run(
        database, "UPDATE webhook_deliveries SET next_at = now() WHERE id = :id", id=one
    )
    await deliver(runtime, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert 1600 <= row["due_in"] <= 1980
    await runtime.http.aclose()


@pytest.fixture
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that no earlier set-up of logging has frozen, so that it can be listened to."""
    monkeypatch.setattr(handler, "log", structlog.get_logger("fresh"))


async def test_a_delivery_that_used_up_its_tries_is_dead(
    database: Database, caller: Caller, there: Receiver, fresh_log: None
) -> None:
    runtime = given.runtime(database, webhook_schedule_s=[0, 0])
    _, one = await _one(database, caller, there.url)
    there.always = reply(500)
    before = _count("penstock_webhook_exhausted_total")
    with capture_logs() as logs:
        for _ in range(3):
            await deliver(runtime, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert (row["state"], row["tries"], row["next_at"]) == ("dead", 2, None)
    assert len(there.requests) == 2
    assert _count("penstock_webhook_exhausted_total") == before + 1
    assert [one["event"] for one in logs].count("webhook.exhausted") == 1
    await runtime.http.aclose()


async def test_410_disables_the_endpoint_and_cancels_what_waits(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    endpoint, one = await _one(database, caller, there.url)
    waiting = await given.delivery(database, endpoint)
    there.always = reply(410)
    await deliver(runtime, one)
    row = await given.row(database, "webhook_endpoints", endpoint)
    assert not row["enabled"]
    assert row["disabled_reason"] == tries.GONE_REASON
    for each in (one, waiting):
        assert (await given.row(database, "webhook_deliveries", each))["state"] == "cancelled"
    await deliver(runtime, waiting)
    assert len(there.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver, status: int
) -> None:
    _, one = await _one(database, caller, there.url)
    there.always = reply(status, retry_after="120")
    await deliver(runtime, one)
    assert 119 <= (await given.row(database, "webhook_deliveries", one))["due_in"] <= 133


async def test_a_drip_feed_is_a_failure_within_the_total_time(
    database: Database, caller: Caller, there: Receiver
) -> None:
    runtime = given.runtime(database, webhook_timeout_s=0.3)
    _, one = await _one(database, caller, there.url)
    there.always = drip()
    await deliver(runtime, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert (row["state"], row["last_status"]) == ("pending", None)
    assert row["last_error"] == "no complete answer within 0.3 s"
    await runtime.http.aclose()


async def test_a_name_that_now_points_inside_is_not_reached(
    database: Database, caller: Caller, there: Receiver
) -> None:
    names = Names(rebind_test=[[PUBLIC], ["127.0.0.1"]])
    rules = Guard(names, (), allow_http=True)
    runtime = given.runtime(database, rules)
    async with database.begin() as session:
        endpoint = await endpoints.create(
            session, caller, rules, name="n", url=f"http://rebind.test:{there.port}/",
            event_types=["job.succeeded"],
        )  # fmt: skip
    one = await given.delivery(database, endpoint.id)
    await deliver(runtime, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert row["state"] == "pending"
    assert "private, local or reserved" in row["last_error"]
    assert there.connections == 0
    await runtime.http.aclose()


async def test_a_url_that_is_no_longer_allowed_is_not_sent_to(
    database: Database, caller: Caller, there: Receiver
) -> None:
    runtime = given.runtime(database, webhook_allow_http=False)
    _, one = await _one(database, caller, there.url)
    await deliver(runtime, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert "must begin with https" in row["last_error"]
    assert there.connections == 0
    await runtime.http.aclose()


async def test_during_a_rotation_both_secrets_verify_then_only_the_new_one(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    old = signing.new_secret()
    endpoint, one = await _one(database, caller, there.url, secret=old)
    async with database.begin() as session:
        new = (await endpoints.rotate(session, caller, endpoint, keep_old=True)).secret
    await deliver(runtime, one)
    for secret in (old, new):
        Webhook(secret).verify(there.requests[0].body, there.requests[0].headers)
    await given.run(
        database,
        "UPDATE webhook_endpoints SET old_secret_until = now() WHERE id = :id",
        id=endpoint,
    )
    await deliver(runtime, await given.delivery(database, endpoint))
    assert len(there.requests[1].headers["webhook-signature"].split()) == 1
    Webhook(new).verify(there.requests[1].body, there.requests[1].headers)


async def test_two_workers_with_the_same_doorbell_send_once(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    _, one = await _one(database, caller, there.url)
    await asyncio.gather(*(deliver(runtime, one) for _ in range(8)))
    assert len(there.requests) == 1


async def test_a_worker_killed_before_it_recorded_loses_nothing(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    _, one = await _one(database, caller, there.url)
    async with database.begin() as session:
        dead = await tries.claim(session, one, lease_s=30, per_endpoint=4)
    assert dead is not None
    await deliver(runtime, one)
    assert there.requests == []  # the lease still holds
    await given.run(
        database, "UPDATE webhook_deliveries SET lease_until = now() WHERE id = :id", id=one
    )
    await deliver(runtime, one)
    assert (await given.row(database, "webhook_deliveries", one))["state"] == "delivered"
    # And if it was not dead but slow, its late word counts for nothing.
    async with database.begin() as session:
        outcome = await tries.record(session, dead, Answer(500, "no"), schedule=[0, 9], jitter=0)
    assert outcome == tries.LOST
    assert (await given.row(database, "webhook_deliveries", one))["state"] == "delivered"


async def test_a_late_record_does_not_touch_the_try_of_another_worker(
    database: Database, caller: Caller, there: Receiver
) -> None:
    _, one = await _one(database, caller, there.url)
    async with database.begin() as session:
        slow = await tries.claim(session, one, lease_s=0, per_endpoint=4)
    async with database.begin() as session:
        new = await tries.claim(session, one, lease_s=30, per_endpoint=4)
    assert slow is not None
    assert new is not None
    async with database.begin() as session:
        late = await tries.record(session, slow, Answer(410, "no"), schedule=[0, 9], jitter=0)
    assert late == tries.LOST
    row = await given.row(database, "webhook_deliveries", one)
    assert (row["state"], row["claim"]) == ("pending", new.claim)
    assert row["lease_until"] is not None
    async with database.begin() as session:
        outcome = await tries.record(session, new, Answer(200), schedule=[0, 9], jitter=0)
    assert outcome == "delivered"


async def test_postgres_away_at_the_record_leaves_the_lease_to_run_out(
    database: Database, caller: Caller, there: Receiver
) -> None:
    elsewhere = Database(
        Settings(_env_file=None, database_url="postgresql://x:x@127.0.0.1:1/x"), name="away", pool=1
    )

    class Failing:
        """The first transaction works, the next finds nobody."""

        def __init__(self) -> None:
            self.left = [database, elsewhere]

        def begin(self) -> object:
            return self.left.pop(0).begin()

    made = given.runtime(database)
    _, one = await _one(database, caller, there.url)
    broken = Runtime(Failing(), made.settings, made.http)  # type: ignore[arg-type]
    with pytest.raises(SQLAlchemyError):
        await deliver(broken, one)
    row = await given.row(database, "webhook_deliveries", one)
    assert row["state"] == "pending"
    assert row["lease_until"] is not None
    await made.http.aclose()
    await elsewhere.close()


async def test_a_replay_keeps_the_webhook_id_and_has_a_new_timestamp(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    endpoint, one = await _one(database, caller, there.url)
    await deliver(runtime, one)
    async with database.begin() as session:
        tried = await tries.claim(session, one, lease_s=30, per_endpoint=4)
        assert tried is None
        await deliveries.replay(session, caller, endpoint, one)
    await deliver(runtime, one)
    first, second = there.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"])
    row = await given.row(database, "webhook_deliveries", one)
    assert (row["state"], row["tries"], row["claim"]) == ("delivered", 1, 3)


async def test_a_doorbell_for_nothing_is_answered_silently(runtime: Runtime) -> None:
    await deliver(runtime, "wd_none")


async def test_neither_secret_nor_body_gets_into_logs_or_reprs(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver, fresh_log: None
) -> None:
    secret = signing.new_secret()
    endpoint = await given.endpoint(database, caller, there.url, secret=secret)
    body = '{"type": "x", "private": "word-of-the-client"}'
    one = await given.delivery(database, endpoint, body)
    async with database.begin() as session:
        tried = await tries.claim(session, one, lease_s=0.001, per_endpoint=4)
        row = await endpoints.get(session, caller, endpoint)
    there.replies.append(reply(500))
    with capture_logs() as logs:
        await deliver(runtime, one)
        await deliver(runtime, one)
    said = f"{logs} {tried!r} {row!r}"
    assert [one["outcome"] for one in logs] == ["retry", "delivered"]
    assert logs[0]["endpoint"] == endpoint
    assert secret.removeprefix("whsec_") not in said
    assert "word-of-the-client" not in said


async def test_the_error_of_a_failed_statement_does_not_tell_the_secret(
    database: Database, caller: Caller
) -> None:
    secret = signing.new_secret()
    with pytest.raises(SQLAlchemyError) as caught:
        await given.endpoint(
            database, caller, "https://example.com/", secret=secret, tenant_id="nobody"
        )
    assert secret not in f"{caught.value} {caught.value!r}"


async def test_a_worker_prepares_and_closes_from_settings_alone(postgres_url: str) -> None:
    settings = given.settings(database_url=postgres_url)
    runtime = await handler.prepare(settings)
    await deliver(runtime, "wd_none")
    await handler.close(runtime)
