"""Random faults of every kind under a steady load, then everything is healed and every invariant checked.

PENSTOCK_CHAOS_SECONDS (default 40) says how long, PENSTOCK_SEED replays a run's choice of faults.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest
import redis

from tests.faults import load as loads
from tests.faults.conftest import OURS, heal
from tests.faults.invariants import REPORT, check
from tests.faults.load import Load
from tests.rig import Rig

pytestmark = [pytest.mark.fault, pytest.mark.timeout(0)]

SECONDS = float(os.environ.get("PENSTOCK_CHAOS_SECONDS", "40"))
# Jobs a second; two cores that start a process every few seconds have little left.
RATE = 4


@dataclass
class Chaos:
    """What the faults act on. Each fault blocks for as long as it lasts. `done`: how often each was."""

    rig: Rig
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)


def kill_ours(chaos: Chaos, name: str) -> None:
    part = chaos.rig.process(name)
    part.kill()
    part.start()


def end_ours(chaos: Chaos, name: str) -> None:
    """An orderly stop in the middle of it all."""
    part = chaos.rig.process(name)
    part.end()
    part.start()


def hang(chaos: Chaos, name: str) -> None:
    """SIGSTOP for up to twice the lease."""
    stack = chaos.rig.stack.parts
    part = stack[name] if name in stack else chaos.rig.process(name)
    part.stop()
    try:
        # The fault is the time itself: it ends early when the process is gone.
        part.wait(chaos.rng.uniform(0.5, 6.0))
    finally:
        part.cont()


def restart(chaos: Chaos, name: str) -> None:
    part = chaos.rig.stack.parts[name]
    if chaos.rng.random() < 0.5:
        part.kill()
    else:
        part.end()
    part.start()


def empty_redis(chaos: Chaos) -> None:
    with redis.Redis.from_url(chaos.rig.settings().redis_url) as client:
        client.flushall()


def cut_redis(chaos: Chaos) -> None:
    with redis.Redis.from_url(chaos.rig.settings().redis_url) as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind)


def lose_redis(chaos: Chaos) -> None:
    part = chaos.rig.stack.parts["redis"]
    part.kill()
    part.wipe()
    part.start()


def cut_postgres(chaos: Chaos) -> None:
    with psycopg.connect(chaos.rig.settings().database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )


FAULTS: dict[str, Callable[[Chaos], None]] = {
    "worker killed": lambda c: kill_ours(c, "inference"),
    "worker drained": lambda c: end_ours(c, "inference"),
    "worker hung": lambda c: hang(c, "inference"),
    "control killed": lambda c: kill_ours(c, "control"),
    "control hung": lambda c: hang(c, "control"),
    "api killed": lambda c: kill_ours(c, "api"),
    "redis restarted": lambda c: restart(c, "redis"),
    "redis hung": lambda c: hang(c, "redis"),
    "redis emptied": empty_redis,
    "redis restarted empty": lose_redis,
    "redis connections cut": cut_redis,
    "kafka restarted empty": lambda c: restart(c, "kafka"),
    "kafka hung": lambda c: hang(c, "kafka"),
    "postgres restarted": lambda c: restart(c, "postgres"),
    "postgres hung": lambda c: hang(c, "postgres"),
    "postgres connections cut": cut_postgres,
}


async def rage(chaos: Chaos, until: float) -> None:
    """One fault after another until then. The first ones are each kind once, in a random order."""
    first = list(FAULTS)
    chaos.rng.shuffle(first)
    clock = asyncio.get_running_loop().time
    while clock() < until:
        name = first.pop() if first else chaos.rng.choice(list(FAULTS))
        await asyncio.to_thread(FAULTS[name], chaos)
        chaos.done[name] += 1
        # A pause in which something may begin that the next fault then meets.
        await asyncio.sleep(chaos.rng.uniform(0, 1.5))


async def stream_of_jobs(load: Load, client: httpx.AsyncClient, until: float) -> None:
    """RATE jobs a second, however long each submission takes."""
    clock = asyncio.get_running_loop().time
    sending = []
    while clock() < until:
        # Long enough that every fault meets some of them.
        tokens = load.rng.randint(1, 300)
        one = loads.submit(load, client, 1, follow_every=0, max_tokens=tokens)
        sending.append(asyncio.create_task(one))
        if len(sending) % 3 == 0:
            sending[-1].add_done_callback(lambda task: loads.read(load, client, task.result()[0]))
        await asyncio.sleep(1 / RATE)  # the pace of the load
    await asyncio.gather(*sending)


async def test_chaos(rig: Rig, client: httpx.AsyncClient, load: Load) -> None:
    chaos = Chaos(rig, random.Random(load.seed))
    until = asyncio.get_running_loop().time() + SECONDS
    raging = asyncio.create_task(rage(chaos, until))
    await stream_of_jobs(load, client, until)
    await raging
    await asyncio.to_thread(heal, rig)
    load.kills = sum(chaos.done.values())
    faults = ", ".join(f"{n} {name}" for name, n in sorted(chaos.done.items()))
    REPORT.append(f"chaos of {SECONDS:g} s, {load.kills} faults: {faults}")
    await check(rig, load, client, kafka_kept=False, timeout_s=120)
    for name in OURS:
        assert rig.process(name).exited() is None, f"{name} died after the chaos was over"
