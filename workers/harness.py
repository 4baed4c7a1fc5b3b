"""What every worker process that runs jobs does around them: load, listen, drain, notice a dead engine, leave.

main thread    Celery's consumer: takes doorbells while there are slots, hands them to the loop
loop thread    everything else: claim, engine, events, heartbeat, recording
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
import uvloop
from celery import signals

from core import status, telemetry
from core.catalog import models, tokenizer
from core.catalog.digest import digest_of
from core.catalog.models import Served
from core.catalog.tokenizer import Text
from core.config import Settings
from core.db.session import Database
from core.errors import Refused
from core.events.log import EventLog, connect
from core.forever import forever, stopped
from core.ids import new_id
from core.storage.place import storage_of
from workers import app, pulse
from workers.context import Why
from workers.engine import Loaded
from workers.pool import Slots
from workers.presence import Presence
from workers.process import Worker
from workers.run import run

log = structlog.get_logger(__name__)

# A heartbeat that hangs longer than this must not keep the others from noticing that a lease is over.
DATABASE_S = 10.0
# After the drain: time for handed-back jobs to be recorded and for last events.
LAST_S = 5.0

Prepare = Callable[[], Coroutine[Any, Any, Worker]]


async def equipped(
    config: Settings, kind: str, source: str, load: Callable[[], Loaded]
) -> dict[str, Any]:
    """The fields of a Worker: connections, the loaded engine, the model as the catalog now lists it.

    `source`: the model's folder or hub id.
    """
    # First of all: a wrong model must be named at once, not by a traceback after a long load.
    text: Text = tokenizer.load(source)
    engine = load()
    served: Served = await engine.start()
    served = replace(served, digest=await asyncio.to_thread(digest_of, source))
    fields = connected(config, kind)
    async with fields["db"].begin() as session:
        await models.register(session, served)
    return fields | {"engine": engine, "model": served, "text": text}


def connected(config: Settings, kind: str) -> dict[str, Any]:
    """The fields of a Worker that has no model: its connections."""
    return {
        "id": new_id("wrk"),
        "kind": kind,
        "settings": config,
        "db": Database(config, name=kind, pool=8, limit_s=DATABASE_S),
        "events": EventLog(connect(config), config),
        "storage": storage_of(config),
    }


def work(config: Settings, kind: str, slots: int, prepare: Prepare) -> None:
    """Load, run jobs until told to stop. Ends with 0 after a drain, 1 when the engine is dead."""
    telemetry.setup(config, process=kind)
    ready: dict[str, str | None] = {"engine": "loading"}
    status.serve(config, {"engine": lambda: ready["engine"], "doorbells": listening()})
    loop = loop_thread()
    stopping = _stop_while_loading()
    try:
        worker: Worker = await_on(loop, prepare())
    except Refused as error:
        raise SystemExit(f"penstock worker: {error.message}") from error
    ready["engine"] = None
    queues = worker.queues()
    presence = Presence(config, worker.id, kind, queues, slots)
    await_on(loop, _attend(worker, presence))

    def drain(**_: object) -> None:
        presence.draining = worker.draining = True
        asyncio.run_coroutine_threadsafe(_drain(worker), loop)

    signals.worker_shutting_down.connect(drain, weak=False)
    asyncio.run_coroutine_threadsafe(_watch(worker), loop)
    log.info("worker is up", kind=kind, worker=worker.id, queues=queues, slots=slots)
    if not stopping.is_set():
        app.work(app.make(config, queues), queues, Slots(slots, loop), partial(run, worker))
    await_on(loop, _leave(worker, presence))
    if worker.dead.is_set():
        raise SystemExit(1)


def loop_thread() -> asyncio.AbstractEventLoop:
    """An event loop on a thread that lives as long as the process."""
    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, name="loop", daemon=True).start()
    return loop


def listening() -> Callable[[], str | None]:
    """A check: Celery takes seconds from its start to its first doorbell, and until then nothing runs."""
    started = threading.Event()

    def listening(**_: object) -> None:
        started.set()

    signals.worker_ready.connect(listening, weak=False)
    return lambda: None if started.is_set() else "not taken yet"


def _stop_while_loading() -> threading.Event:
    """Celery's handlers come later: a stop before that ends the process at once, nothing is claimed yet."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def await_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


# The loops of this process: kept referenced, since the event loop itself only holds them weakly.
_tasks: list[asyncio.Task[None]] = []


async def _attend(worker: Worker, presence: Presence) -> None:
    """Start the loops beside the attempts; returns when the worker's lock is held."""
    held = asyncio.Event()
    loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "presence": lambda: presence.hold(held),
        "voice": worker.voice.run,
        "room": worker.room,
        "pulse": lambda: pulse.beat(worker),
        "cancels": lambda: pulse.listen(worker, worker.events.redis),
        **worker.loops(),
    }
    _tasks.extend(
        asyncio.create_task(forever(name, loop), name=name) for name, loop in loops.items()
    )
    await held.wait()


async def _drain(worker: Worker) -> None:
    """Let running jobs end within the grace time, then hand the rest back, uncharged."""
    log.info("draining", running=len(worker.running), grace_s=worker.drain_s)
    await worker.emptied(worker.drain_s)
    for attempt in list(worker.running.values()):
        attempt.stop(Why.RELEASED)


async def _watch(worker: Worker) -> None:
    """A dead engine ends the process: its supervisor starts a fresh one."""
    await worker.dead.wait()
    worker.draining = True
    for attempt in list(worker.running.values()):
        attempt.stop(Why.STALLED)
    await worker.emptied(LAST_S)
    log.error("engine is dead; ending the worker")
    os._exit(1)


async def _leave(worker: Worker, presence: Presence) -> None:
    await stopped(_tasks)
    await presence.leave()
    await worker.close()
    await worker.events.redis.aclose()
    await worker.db.close()
    log.info("worker stopped")
