"""The invariants that hold after every fault, checked from Postgres, Kafka, the readers and the process table.

I1 one last fact, under the last number      I5 readers saw contiguous numbers, each once
I2 one accepted end                          I7 nothing runs or is leased any more
I3 facts follow the state machine            I8 keys and jobs are one to one
I4 result == what readers put together       I9 tokens charged once: ledger == usage == results
   == an undisturbed run                     I10 no process left over
"""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import psutil
from kafka import KafkaConsumer, TopicPartition
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import Text

from core.db.session import Database
from core.events import types
from core.events.bus import EVENTS
from core.jobs.job import TERMINAL, State
from tests.faults import load as loads
from tests.faults.load import Answer, Load
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import PATIENCE_S, eventually, until

# What a test counted, one line a check; the end of the test run prints them (conftest.py).
REPORT: list[str] = []

_FACTS = text(
    """SELECT job_id, seq, type, attempt, at, data FROM job_events
       WHERE job_id = ANY(:ids) ORDER BY job_id, seq"""
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_JOBS = text(
    """SELECT id, state, attempt, failures, seq, result, usage, error, lease_until, progress
       FROM jobs WHERE id = ANY(:ids)"""
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_OPEN = text(
    "SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND state IN ('queued', 'running')"
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_KEYS = text(
    """SELECT (SELECT count(*) FROM jobs WHERE tenant_id = t.id) AS jobs,
              (SELECT count(DISTINCT job_id) FROM idempotency_keys WHERE tenant_id = t.id) AS named,
              (SELECT count(*) FROM idempotency_keys WHERE tenant_id = t.id) AS keys
       FROM tenants t WHERE t.id = (SELECT tenant_id FROM jobs WHERE id = :id)"""
)
_LEDGER = text(
    """SELECT l.id, l.settled_at, l.cost, l.prompt_tokens, l.completion_tokens, l.cached_tokens,
              l.engine_seconds
       FROM ledger l WHERE l.tenant_id = (SELECT tenant_id FROM jobs WHERE id = :id)"""
)
CHARGED = ("prompt_tokens", "completion_tokens", "cached_tokens", "engine_seconds")


@dataclass
class Counts:
    """What a check saw, over all jobs of a load."""

    ends: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    requeues: Counter[str] = field(default_factory=Counter)
    snapshots: int = 0
    reconnects: int = 0
    kafka: int = 0
    kafka_again: int = 0
    charged: int = 0


async def ended(db: Database, ids: Iterable[str], timeout_s: float = PATIENCE_S) -> None:
    """I1, first half: wait until all these jobs have ended. Raises AssertionError when some never do."""
    wanted = list(ids)

    async def all_ended() -> bool:
        try:
            async with db.begin() as session:
                return not await session.scalar(_OPEN, {"ids": wanted})
        except (SQLAlchemyError, OSError):
            return False

    try:
        await eventually(all_ended, "every job has ended", timeout_s)
    except AssertionError as late:
        async with db.begin() as session:
            rows = (await session.execute(_JOBS, {"ids": wanted})).all()
        left = [(r.id, r.state, r.attempt, r.failures) for r in rows if r.state not in TERMINAL]
        raise AssertionError(f"{late}; {len(left)} have not: {left[:5]}") from None


async def check(
    rig: Rig,
    load: Load,
    client: httpx.AsyncClient,
    *,
    ends: Iterable[str] = ("succeeded",),
    kafka_kept: bool = True,
    oracle: bool = True,
    timeout_s: float = PATIENCE_S,
) -> Counts:
    """Wait until the jobs of `load` have ended, then hold every invariant against them.

    `ends`: the states they may end in. `kafka_kept`: the broker never lost its log, so every fact must
    be in it. `oracle`: the answers are the scripted engine's. `client` belongs to the load's tenant.
    Returns the counts, and adds a line to REPORT. Raises AssertionError.
    """
    counts = Counts()
    db = Database(rig.settings(), name="invariants", pool=2)
    try:
        await ended(db, load.ids, timeout_s)
        await loads.read_out(load)
        await _no_outbox(db)
        facts, jobs = await _rows(db, load.ids)
        for job_id, made in load.bodies.items():
            job, mine = jobs[job_id], facts[job_id]
            one_story(job, mine)
            counts.ends[job.state] += 1
            counts.attempts += job.attempt
            counts.requeues.update(f.data["reason"] for f in mine if f.type == types.REQUEUED)
            wanted = await loads.answer(made, load.settings) if oracle else None
            right_answer(job, wanted)
        wrong = counts.ends.keys() - set(ends)
        assert not wrong, (
            f"ended otherwise than {ends}: {counts.ends}; {_why(jobs.values(), wrong)}"
        )
        await _keys(db, load)
        async with db.begin() as session:
            entries = (await session.execute(_LEDGER, {"id": load.ids[0]})).all()
        counts.charged = charged(jobs, entries)
        await _read_back(load, client, jobs, facts, counts)
        if kafka_kept:
            await _announced(rig, facts, counts)
    finally:
        await db.close()
    no_orphans(rig)
    _report(load, counts)
    return counts


def _why(jobs: Iterable[Any], states: Iterable[str]) -> list[Any]:
    return [(j.id, j.state, j.error) for j in jobs if j.state in states][:3]


async def _rows(db: Database, ids: list[str]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    facts: dict[str, list[Any]] = defaultdict(list)
    async with db.begin() as session:
        for fact in await session.execute(_FACTS, {"ids": ids}):
            facts[fact.job_id].append(fact)
        jobs = {job.id: job for job in await session.execute(_JOBS, {"ids": ids})}
    assert jobs.keys() == set(ids), f"accepted and not there: {set(ids) - jobs.keys()}"
    return facts, jobs


def one_story(job: Any, facts: list[Any]) -> None:
    """I1, I2, I3, I7 of one ended job: its facts walk the state machine to one end, the row agrees."""
    story = [(f.seq, f.type, f.attempt) for f in facts]
    state, attempt, last = None, 0, 0
    charged = 0
    for fact in facts:
        assert fact.seq > last, f"{job.id}: number {fact.seq} after {last}: {story}"
        last = fact.seq
        match state, fact.type:
            case None, types.QUEUED:
                assert (fact.seq, fact.attempt) == (1, 0), f"{job.id}: {story}"
                state = "queued"
            case "queued", types.STARTED:
                attempt += 1
                state = "running"
            case "running", types.REQUEUED:
                charged += fact.data["reason"] != "released"
                state = "queued"
            case "running", types.SUCCEEDED | types.FAILED | types.CANCELLED | types.EXPIRED:
                state = "ended"
            case "queued", types.CANCELLED | types.EXPIRED:
                state = "ended"
            case _:
                raise AssertionError(f"{job.id}: {fact.type} when {state}: {story}")
        assert fact.attempt == attempt, f"{job.id}: attempt {fact.attempt}, not {attempt}: {story}"
    assert state == "ended", f"{job.id} is {job.state} without a last fact: {story}"
    assert facts[-1].type == f"job.{job.state}", f"{job.id} is {job.state}: {story}"
    assert (job.seq, job.attempt, job.failures) == (last, attempt, charged), f"{job}: {story}"
    assert job.lease_until is None, f"{job.id} ended and is leased"


def right_answer(job: Any, wanted: Answer | None) -> None:
    """I4 and I9 of one ended job against an undisturbed run; a partial result must begin like it."""
    if wanted is None:
        return
    got = (job.result or {}).get("text", "")
    spent, prompt = job.usage["completion_tokens"], job.usage["prompt_tokens"]
    if job.state != State.SUCCEEDED:
        assert wanted.text.startswith(got), f"{job.id}: {got!r} is no beginning of {wanted.text!r}"
        told = f"{job.id}: {spent} tokens charged for {got!r}, {prompt} for a prompt of {wanted.prompt}"
        assert spent in wanted.spent(got), told
        # A prompt that nothing was said to may have been in an engine, or not.
        assert prompt == wanted.prompt or (prompt == spent == 0), told
        return
    assert got == wanted.text, f"{job.id}: {got!r} is not {wanted.text!r}"
    assert job.result["finish_reason"] == wanted.finish, f"{job.id}: {job.result}"
    assert spent == wanted.tokens, f"{job.id}: {spent} tokens charged for {wanted.tokens}"
    assert prompt == wanted.prompt, f"{job.id}: {prompt} charged for a prompt of {wanted.prompt}"


def charged(jobs: dict[str, Any], entries: Iterable[Any]) -> int:
    """I9: each job of the tenant has one settled row, which says what its usage says. Returns all tokens."""
    rows = {row.id: row for row in entries}
    assert rows.keys() == jobs.keys(), f"not one row a job: {rows.keys() ^ jobs.keys()}"
    left = [row.id for row in rows.values() if row.settled_at is None or row.cost is None]
    assert not left, f"{len(left)} ended jobs are still reserved: {left[:5]}"
    for job in jobs.values():
        row = rows[job.id]
        told = {name: getattr(row, name) for name in CHARGED}
        assert told == {name: job.usage[name] for name in CHARGED}, f"{job.id}: {told}, {job.usage}"
    total: int = sum(row.prompt_tokens + row.completion_tokens for row in rows.values())
    assert total == sum(job.usage["total_tokens"] for job in jobs.values())
    return total


async def _keys(db: Database, load: Load) -> None:
    """I8: this tenant has as many jobs as it has keys, and as many as were accepted."""
    async with db.begin() as session:
        row = (await session.execute(_KEYS, {"id": load.ids[0]})).one()
    assert row.jobs == row.keys == row.named, f"{row.jobs} jobs for {row.keys} keys"
    assert row.jobs == len(load.bodies), f"{row.jobs} jobs, {len(load.bodies)} were accepted"


async def _read_back(
    load: Load,
    client: httpx.AsyncClient,
    jobs: dict[str, Any],
    facts: dict[str, list[Any]],
    counts: Counts,
) -> None:
    """I4, I5: readers that lived through it all, and one that comes after, tell the same."""
    for reader in load.readers:
        _agrees(reader, jobs[reader.job_id], facts[reader.job_id])
        counts.reconnects += reader.reconnects
        counts.snapshots += reader.snapshots
    live = {reader.job_id: reader for reader in load.readers}
    gate = asyncio.Semaphore(16)

    async def again(job_id: str) -> None:
        late = Reader(job_id)
        async with gate:
            await late.follow(client)
        _agrees(late, jobs[job_id], facts[job_id])
        early = live.get(job_id)
        if early is not None and not early.snapshots and not late.snapshots:
            assert early.events == late.events, f"{job_id} reads otherwise afterwards"

    await asyncio.gather(*(again(job_id) for job_id in load.ids))


def _agrees(reader: Reader, job: Any, facts: list[Any]) -> None:
    """The numbers were checked as they came (Reader.take); here: text, last event, every fact in place."""
    text_ = (job.result or {}).get("text", "")
    assert reader.text == text_, f"{job.id}: read {reader.text!r}, the result is {text_!r}"
    last = reader.events[-1]
    assert (last["seq"], last["type"]) == (job.seq, f"job.{job.state}"), f"{job.id}: {last}"
    seen = {e["seq"]: e for e in reader.events if e["type"] in types.FACTS}
    recorded = {f.seq: f for f in facts}
    for seq, event in seen.items():
        fact = recorded.get(seq)
        assert fact is not None, f"{job.id}: readers saw {event}, Postgres has no such fact"
        told = (event["type"], event["attempt"], event["data"], event["at"])
        truth = (fact.type, fact.attempt, fact.data, types.rfc3339(fact.at))
        assert told == truth, f"{job.id}: read {told}, recorded {truth}"
    if not reader.snapshots:
        assert seen.keys() == recorded.keys(), f"{job.id}: not every fact was read"


async def _no_outbox(db: Database) -> None:
    async def empty() -> bool:
        async with db.begin() as session:
            return not await session.scalar(text("SELECT count(*) FROM outbox"))

    await eventually(empty, "the relay has carried the outbox away")


async def _announced(rig: Rig, facts: dict[str, list[Any]], counts: Counts) -> None:
    """Every fact is on penstock.events at least once."""
    dumped = Counter(
        (event["data"]["job_id"], event["data"]["seq"], event["type"])
        for event in await asyncio.to_thread(dump, rig.settings().kafka_bootstrap_servers)
    )
    truth = {(f.job_id, f.seq, f.type) for told in facts.values() for f in told}
    lost = truth - dumped.keys()
    assert not lost, f"{len(lost)} facts are not on {EVENTS}: {sorted(lost)[:5]}"
    counts.kafka = len(truth)
    counts.kafka_again = sum(dumped[one] - 1 for one in truth)


def dump(servers: str) -> list[dict[str, Any]]:
    """All CloudEvents on penstock.events, from its beginning to its end as it is now. Blocks."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers.split(","),
        enable_auto_commit=False,
        allow_auto_create_topics=False,
    )
    try:
        partitions = [
            TopicPartition(EVENTS, n) for n in consumer.partitions_for_topic(EVENTS) or ()
        ]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        events: list[dict[str, Any]] = []

        def read_all() -> bool:
            batches = consumer.poll(timeout_ms=300)
            for records in batches.values():
                events.extend(orjson.loads(record.value) for record in records)
            # The embedded broker tells the start of the last batch as the end: so a silence, too.
            return not batches and all(consumer.position(p) >= end for p, end in ends.items())

        until(read_all, f"{EVENTS} is read to its end")
        return events
    finally:
        consumer.close()


def no_orphans(rig: Rig) -> None:
    """I10: within 5 s every process that inherited this rig's settings belongs to a part that runs."""
    until(lambda: not orphans(rig), f"no process is left over: {orphans(rig)}", 5.0)


def orphans(rig: Rig) -> list[str]:
    """Processes started by the rig's processes that none of them owns any more."""
    parts = [*rig.parts.values(), *rig.stack.parts.values()]
    owned = {process.pid for part in parts for process in part.family()} | {os.getpid()}
    mark, left = str(rig.folder), []
    for process in psutil.process_iter():
        try:
            if process.pid not in owned and process.environ().get("PENSTOCK_SCRIPTED_DIR") == mark:
                left.append(f"{process.pid} {' '.join(process.cmdline())}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return left


def _report(load: Load, counts: Counts) -> None:
    ends = ", ".join(f"{n} {state}" for state, n in sorted(counts.ends.items()))
    back = ", ".join(f"{n} {why}" for why, n in sorted(counts.requeues.items())) or "none"
    REPORT.append(
        f"{load.name}: seed {load.seed}, {load.kills} kills; jobs: {ends}; {counts.attempts} attempts, "
        f"requeued: {back}; {len(load.readers)} readers, {counts.reconnects} reconnects, "
        f"{counts.snapshots} snapshots; {load.resent} submissions repeated; {counts.kafka} facts in "
        f"Kafka, {counts.kafka_again} more than once; {counts.charged} tokens charged, each once"
    )
    print(REPORT[-1])
