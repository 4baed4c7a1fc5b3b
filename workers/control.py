"""The control process: relay, dispatcher, rescuer, webhook feed and sweeps on one loop. Any number may run."""

import asyncio
import signal
import time

import structlog
import uvloop
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core import status, telemetry
from core.config import Settings, settings
from core.db.session import Database
from core.errors import Unavailable
from core.events import bus
from core.events.log import POKE_CHANNEL, ROOM, EventLog, connect
from core.forever import forever, stopped
from core.jobs.kinds import KINDS
from core.storage.place import storage_of
from workers import (
    app,
    batches,
    catalog,
    corrections,
    dispatch,
    files,
    gate,
    relay,
    rescue,
    trainings,
)
from workers.webhooks import feed

log = structlog.get_logger(__name__)

MAX_WEBHOOK_BELLS = 1000


def main() -> None:
    """Run until SIGTERM or SIGINT. Everything it does is in Postgres before it is done, so it just stops."""
    config = settings()
    telemetry.setup(config, process="control")
    uvloop.run(_run(config))


async def _run(config: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    seen = {"tick": time.monotonic()}
    status.serve(config, {"loop": lambda: _stuck(seen["tick"])})
    await forever("topics", lambda: asyncio.to_thread(bus.create_topics, config, KINDS))
    database = Database(config, name="control", pool=8)
    redis = connect(config)
    events = EventLog(redis, config)
    producer = bus.Producer(config, lambda: bus.create_topics(config, KINDS))
    announced = bus.Consumer(config, [bus.jobs_topic(k) for k in KINDS], "penstock-dispatch")
    facts = bus.Consumer(config, [bus.EVENTS], "penstock-webhooks")
    bell = app.Bell(app.make(config))
    relay_wake, dispatch_wake = asyncio.Event(), asyncio.Event()

    async def ring_webhooks(ids: list[str]) -> None:
        # Nobody takes them for long: what waits already is enough, and it is rung again in any case.
        if (await bell.waiting([app.WEBHOOKS]))[app.WEBHOOKS] < MAX_WEBHOOK_BELLS:
            await bell.ring([(app.WEBHOOKS, [one]) for one in ids])

    loops = {
        "relay": lambda: relay.relay(database, producer, relay_wake),
        "dispatch": lambda: dispatch.dispatch(database, bell, dispatch_wake, config),
        "announcements": lambda: dispatch.announcements(announced, dispatch_wake),
        "pokes": lambda: _pokes(redis, relay_wake, dispatch_wake),
        "rescue": lambda: rescue.rescue_loop(database, events, dispatch_wake, config),
        "webhooks": lambda: feed.feed(
            database, facts, ring_webhooks, stop, per_endpoint=config.webhook_per_endpoint
        ),
        "gauge": lambda: dispatch.gauge(database),
        "tidy": lambda: rescue.tidy(database, config),
        "files": lambda: files.sweep_loop(database, storage_of(config), config),
        "trainings": lambda: trainings.sweep_loop(database, storage_of(config), config),
        "catalog": lambda: catalog.sweep_loop(database, storage_of(config), config),
        "corrections": lambda: corrections.sweep_loop(database, storage_of(config), config),
        "gate": lambda: gate.sweep_loop(database),
        "batches": lambda: batches.sweep_loop(database, events, dispatch_wake),
        "tick": lambda: _tick(seen),
    }
    tasks = [asyncio.create_task(forever(name, loop), name=name) for name, loop in loops.items()]
    log.info("control is up", loops=list(loops))
    await stop.wait()
    await stopped(tasks)
    await asyncio.gather(producer.close(), announced.close(), facts.close())
    await redis.aclose()
    await database.close()
    log.info("control stopped")


async def _pokes(redis: Redis, relay_wake: asyncio.Event, wake: asyncio.Event) -> None:
    """Wake relay and dispatcher right after a commit; the timers cover what a poke misses."""
    try:
        async with redis.pubsub() as channel:
            await channel.subscribe(POKE_CHANNEL)
            while True:
                poke = await channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
                if poke is None:
                    continue
                wake.set()
                if poke["data"] != ROOM.encode():
                    relay_wake.set()
    except (RedisError, OSError) as error:
        raise Unavailable(f"pokes are away: {error!r}") from error


async def _tick(seen: dict[str, float]) -> None:
    while True:
        seen["tick"] = time.monotonic()
        await asyncio.sleep(1)


def _stuck(tick: float) -> str | None:
    silent = time.monotonic() - tick
    return f"the event loop has not turned for {silent:.0f} s" if silent > 5 else None
