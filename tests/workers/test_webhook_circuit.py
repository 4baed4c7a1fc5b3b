"""What keeps one bad endpoint from harming the others: places, the circuit, giving up on it."""

import asyncio

from core.db.session import Database
from core.security.keys import Caller
from core.webhooks import tries
from tests.fakes import webhooks as given
from tests.fakes.receiver import Receiver, receiver, reply
from workers.webhooks.handler import Runtime, deliver


async def test_one_slow_endpoint_gets_no_more_than_its_places(
    database: Database, caller: Caller, there: Receiver
) -> None:
    runtime = given.runtime(database, webhook_per_endpoint=2)
    endpoint = await given.endpoint(database, caller, there.url)
    waiting = [await given.delivery(database, endpoint) for _ in range(5)]
    await given.run(
        database, "UPDATE webhook_deliveries SET rung_at = now() WHERE endpoint_id = :id",
        id=endpoint,
    )  # fmt: skip
    there.always = there.hang()
    work = [asyncio.create_task(deliver(runtime, one)) for one in waiting]
    done, under_way = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    await there.until(2)
    while len(under_way) > 2:
        more, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert len(there.requests) == 2
    for task in done:
        task.result()
    async with receiver() as healthy:  # the pool is free for others meanwhile
        other = await given.delivery(database, await given.endpoint(database, caller, healthy.url))
        await deliver(runtime, other)
        assert len(healthy.requests) == 1
    # Those that were put off have no doorbell out any more, so the feeder finds them.
    rows = [await given.row(database, "webhook_deliveries", one) for one in waiting]
    assert sorted(row["rung_at"] is None for row in rows) == [False] * 2 + [True] * 3
    assert sorted(row["tries"] for row in rows) == [0] * 3 + [1] * 2
    there.released.set()
    await asyncio.gather(*work)
    await runtime.http.aclose()


async def test_an_endpoint_that_answers_gets_its_backlog_from_one_doorbell(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    endpoint = await given.endpoint(database, caller, there.url)
    waiting = [await given.delivery(database, endpoint) for _ in range(5)]
    await deliver(runtime, waiting[0])
    assert len(set(there.ids)) == 5


async def test_ten_failures_open_the_circuit_for_all_but_a_probe(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    endpoint = await given.endpoint(database, caller, there.url, consecutive_failures=9)
    waiting = [await given.delivery(database, endpoint) for _ in range(3)]
    there.always = reply(500)
    for one in waiting:
        await deliver(runtime, one)
    assert len(there.requests) == 1  # the tenth failure; the others keep their tries
    rows = [await given.row(database, "webhook_deliveries", one) for one in waiting]
    assert [row["tries"] for row in rows] == [1, 0, 0]
    opened = "UPDATE webhook_endpoints SET next_probe_at = now() WHERE id = :id"
    await given.run(database, opened, id=endpoint)
    there.always = there.hang()
    probe = asyncio.create_task(deliver(runtime, waiting[1]))
    await there.until(2)
    await deliver(runtime, waiting[2])
    assert len(there.requests) == 2  # one probe at a time
    there.released.set()
    await probe
    row = await given.row(database, "webhook_endpoints", endpoint)
    assert (row["consecutive_failures"], row["next_probe_at"]) == (0, None)
    await deliver(runtime, waiting[2])
    rows = [await given.row(database, "webhook_deliveries", one) for one in waiting]
    assert {row["state"] for row in rows} == {"delivered"}


async def test_five_days_of_nothing_but_failures_disable_an_endpoint(
    database: Database, runtime: Runtime, caller: Caller, there: Receiver
) -> None:
    endpoint = await given.endpoint(database, caller, there.url, consecutive_failures=9)
    one = await given.delivery(database, endpoint)
    failing = "UPDATE webhook_endpoints SET failing_since = now() - interval '{}' WHERE id = :id"
    await given.run(database, failing.format("4 days"), id=endpoint)
    there.always = reply(500)
    await deliver(runtime, one)
    assert (await given.row(database, "webhook_endpoints", endpoint))["enabled"]
    await given.run(
        database, "UPDATE webhook_endpoints SET next_probe_at = NULL WHERE id = :id", id=endpoint
    )
    await given.run(database, failing.format("121 hours"), id=endpoint)
    await deliver(runtime, one)
    row = await given.row(database, "webhook_endpoints", endpoint)
    assert not row["enabled"]
    assert row["disabled_reason"] == tries.FAILING_REASON
    assert (await given.row(database, "webhook_deliveries", one))["state"] == "cancelled"
