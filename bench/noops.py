"""Figure 2: no-op jobs a second from submit to terminal, beside plain Celery and beside procrastinate."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import redis

from bench import peer_celery, peer_procrastinate
from bench.accepted import BODY, CONCURRENCY, prepared
from bench.figure import Figure, cpu_s, everything, ratio, spread, started
from core.ids import new_id
from infra.part import Part
from tests.rig import ROOT, Rig

SLOTS = 32
CELERY_SLOTS = 16
OF_CELERY = 0.5
Turn = dict[str, float]


def run(rig: Rig, module: str, options: dict[str, Any], used: Callable[[], float],
        done: Callable[[], int], *, sender_counts: bool) -> Turn:  # fmt: skip
    """Send `options["count"]` jobs by `module`, wait until `done()` has grown by as many.

    `used()`: CPU seconds of what serves them. `sender_counts`: the sender does what our API does.
    """
    goal, before = done() + options["count"], used()
    sender = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(options)],
        env=rig.environment, cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while (left := goal - done()) > 0:
        if sender.poll() not in (None, 0) or time.monotonic() > deadline:
            raise RuntimeError(f"{module}: {left} jobs of {options['count']} did not end")
        # Counting costs the server something, too: often only near the end.
        time.sleep(0.02 if left < 100 else 0.2)
    ended = time.time()
    assert sender.stdout is not None
    said = json.loads(sender.stdout.read())
    sender.wait()
    seconds = ended - said["began"]
    cpu = used() - before + (said["cpu"] if sender_counts else 0.0)
    return {"rate": options["count"] / seconds, "cpu_ms": cpu * 1000 / options["count"]}


class Platform:
    """Penstock itself: load over HTTP, the end counted in Postgres."""

    def __init__(self, rig: Rig, count: int) -> None:
        self.rig, self.count = rig, count
        rig.env |= {
            "PENSTOCK_ENGINE": "bench.noop_engine:NoopEngine",
            "PENSTOCK_ENGINE_MAX_SEQUENCES": str(SLOTS),
        }
        rig.start("api", "control", "inference", "webhooks")
        self.tenant, self.key = asyncio.run(prepared(rig, new_id("t")))
        self.sql = psycopg.connect(rig.stack.env()["DATABASE_URL"], autocommit=True)

    def ended(self) -> int:
        row = self.sql.execute(
            "SELECT count(*) FROM jobs WHERE tenant_id = %s AND state = 'succeeded'", (self.tenant,)
        ).fetchone()
        return int(row[0]) if row else 0

    def turn(self) -> Turn:
        options = {"port": self.rig.ports["api"], "key": self.key, "mark": new_id("m"),
                   "count": self.count, "concurrency": CONCURRENCY, "body": BODY}  # fmt: skip
        return run(self.rig, "bench.load", options, lambda: cpu_s(everything(self.rig)),
                   self.ended, sender_counts=False)  # fmt: skip


class Peer:
    """A queue of others: its worker process, and what of the stack it uses."""

    def __init__(self, rig: Rig, module: str, worker: dict[str, Any], send: dict[str, Any],
                 server: Part, done: Callable[[], int]) -> None:  # fmt: skip
        self.rig, self.module, self.send, self.done = rig, module, send, done
        self.server = server
        self.process = started(module, {"role": "worker", **worker}, rig.environment)

    def used(self) -> float:
        own = psutil.Process(self.process.pid).cpu_times()
        return own.user + own.system + cpu_s([self.server])

    def turn(self) -> Turn:
        return run(self.rig, self.module, {"role": "send", **self.send}, self.used, self.done,
                   sender_counts=True)  # fmt: skip

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def celery(rig: Rig, count: int) -> Peer:
    url = rig.stack.env()["REDIS_URL"]
    counter = redis.Redis.from_url(url)
    return Peer(
        rig, "bench.peer_celery", {"redis": url, "slots": CELERY_SLOTS},
        {"redis": url, "count": count}, rig.stack.parts["redis"],
        lambda: int(counter.get(peer_celery.COUNT) or 0),
    )  # fmt: skip


def procrastinate(rig: Rig, count: int) -> Peer:
    dsn = rig.stack.env()["DATABASE_URL"]
    sql = psycopg.connect(dsn, autocommit=True)

    def done() -> int:
        row = sql.execute(
            f"SELECT count(*) FROM {peer_procrastinate.TABLE} WHERE status = 'succeeded'"
        ).fetchone()
        return int(row[0]) if row else 0

    return Peer(
        rig, "bench.peer_procrastinate", {"dsn": dsn, "slots": SLOTS},
        {"dsn": dsn, "count": count, "concurrency": CONCURRENCY}, rig.stack.parts["postgres"], done,
    )  # fmt: skip


def measure(rig: Rig, *, rounds: int = 4, count: int = 1500) -> Figure:
    """`rig` has its stack started."""
    sides: dict[str, Any] = {"Penstock": Platform(rig, count)}
    turns: dict[str, list[Turn]] = {}
    try:
        sides["Celery"] = celery(rig, count)
        sides["procrastinate"] = procrastinate(rig, count)
        # The first turn warms caches and connections and is not counted.
        for number in range(rounds + 1):
            for name, side in sides.items():
                turns.setdefault(name, []).append(side.turn())
                last = turns[name][-1]
                print(f"  {number}: {name} {last['rate']:.0f}/s, {last['cpu_ms']:.2f} CPU ms")
    finally:
        for name in sides.keys() - {"Penstock"}:
            sides[name].end()
    return table({name: some[1:] for name, some in turns.items()}, rounds, count)


def table(turns: dict[str, list[Turn]], rounds: int, count: int) -> Figure:
    rate = {name: [t["rate"] for t in some] for name, some in turns.items()}
    rows = [
        (name, spread(rate[name]), spread([t["cpu_ms"] for t in some], 2))
        for name, some in turns.items()
    ]
    of_celery = ratio(rate["Penstock"], rate["Celery"])
    of_peer = ratio(rate["Penstock"], rate["procrastinate"])
    rows.append(("**Penstock / Celery**", spread(of_celery, 2), ""))
    rows.append(("**Penstock / procrastinate**", spread(of_peer, 2), ""))
    celery_x, peer_x = statistics.median(of_celery), statistics.median(of_peer)
    return Figure(
        "noops",
        "2. No-op jobs, submit to terminal",
        ("", "jobs/s", "CPU ms a job"),
        rows,
        f"ahead of procrastinate (measured {peer_x:.2f} times), and at least {OF_CELERY:g} of plain "
        f"Celery (measured {celery_x:.2f})",
        celery_x >= OF_CELERY and peer_x > 1,
        [
            (
                f"{count} jobs a round, {rounds} rounds in turns, submission counted in all three; median, "
                "and the lowest and highest round."
            ),
            (
                f"Penstock: over HTTP at {CONCURRENCY} connections with idempotency keys, {SLOTS} slots, "
                "an engine that answers at once; CPU of all our processes, Postgres, Redis and the broker."
            ),
            (
                f"Celery: our own settings of it, {CELERY_SLOTS} threads, completions counted in Redis, "
                "CPU of sender, worker and Redis. It loses what a killed worker held."
            ),
            (
                f"procrastinate: {SLOTS} at once, deferred at {CONCURRENCY}; CPU of sender, worker and "
                "Postgres."
            ),
        ],
        dict(turns),
    )
