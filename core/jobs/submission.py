"""Submitting: many wishes in one transaction, each with an answer of its own.

An API process gathers the submissions that arrive together (core/db/gather.py): the transaction, not the
work in it, is what a submission costs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import bindparam, select, text, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import BigInteger, Float, Integer, LargeBinary, Numeric, Text

from core.audits import new as audits
from core.audits.new import NewAudit
from core.catalog.models import Served
from core.errors import Conflict, InvalidInput
from core.events import outbox
from core.ids import new_id
from core.jobs import evals, hits
from core.jobs.evals import NewRun
from core.jobs.hits import Hit
from core.jobs.job import IdempotencyKey, Job
from core.jobs.kinds import (
    RANKS,
    AnySpec,
    asked_tokens,
    cost_cap,
    queue_of,
    reservation,
    window_s,
)
from core.jobs.responses import Asking, keep
from core.ledger.entries import reserve
from core.security.keys import Caller

MAX_KEY = 255
_ENVELOPE = {
    "priority",
    "completion_window",
    "metadata",
    "kind",
    "model",
    "idempotency_key",
    "cache",
}


@dataclass(frozen=True, slots=True)
class Repeat:
    """The key was made from the body, for a client that sends none but says that it tries again.

    `again_within_s`: None for a first try, which makes a job of its own and takes the key over. A further
    try is the job of the last first one, unless that is older than this or was cancelled.
    """

    again_within_s: float | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A checked spec on its way to being a job. `key`: the client's idempotency key, or see Repeat.
    `hit`: what the cache has for it; `audit`: what an audit is bound to; `run`: of which eval it is a run."""

    caller: Caller
    spec: AnySpec
    model: Served
    key: str | None = None
    repeat: Repeat | None = None
    response: Asking | None = None
    hit: Hit | None = None
    audit: NewAudit | None = None
    run: NewRun | None = None

    @property
    def first_try(self) -> bool:
        return self.repeat is not None and self.repeat.again_within_s is None


@dataclass(frozen=True, slots=True)
class Submitted:
    """`replayed`: the idempotency key had already made this job. `cache`: what its look-up came to."""

    job: Job
    replayed: bool
    cache: str | None = None


def check_key(key: str | None) -> None:
    """Raises InvalidInput for a key that cannot be kept."""
    if key is not None and not (1 <= len(key) <= MAX_KEY and key.isprintable()):
        raise InvalidInput(
            f"Idempotency-Key must have 1 to {MAX_KEY} printable characters",
            param="Idempotency-Key",
        )


async def submit_all(session: AsyncSession, wishes: Sequence[Wish]) -> list[Submitted | Conflict]:
    """Record them; they are accepted once the session commits. Answers in the order of the wishes."""
    named = [(wish, new_id("job")) for wish in wishes]
    await _forget(session, wishes)
    late = await _reserve(session, named)
    await _take_over(session, named)
    made = await _insert(session, [(wish, job_id) for wish, job_id in named if job_id not in late])
    await keep(session, {job_id: w.response for w, job_id in named if job_id in made})
    await audits.keep(session, {job_id: w.audit for w, job_id in named if job_id in made})
    await evals.keep(session, {job_id: w.run for w, job_id in named if job_id in made})
    # Last: the end of a job tells of its response, which must be there by then.
    found = {
        job_id: wish.hit
        for wish, job_id in named
        # What was found under other rules than the job's own is no answer to it.
        if wish.hit and job_id in made and wish.hit.guard == (made[job_id].guard or "")
    }
    await hits.answer(session, made, found)
    # After the insert: the first of two twins in this very batch has only now a row to show.
    first = await _replays(session, [wish for wish, job_id in named if job_id in late])
    return [
        Submitted(made[job_id], replayed=False)
        if job_id not in late
        else _replay(wish, first[(wish.caller.tenant_id, wish.key)])
        for wish, job_id in named
    ]


_KNOWN = text(
    """SELECT k.key FROM unnest(:keys, :within) AS v(key, within)
       JOIN idempotency_keys k ON k.tenant_id = :tenant AND k.key = v.key
       JOIN jobs j ON j.id = k.job_id
       WHERE v.within IS NULL
          OR (k.created_at >= now() - make_interval(secs => v.within) AND j.cancel_requested_at IS NULL)"""
).bindparams(bindparam("keys", type_=ARRAY(Text)), bindparam("within", type_=ARRAY(Float)))


async def known(session: AsyncSession, wishes: Sequence[Wish]) -> list[bool]:
    """Which of these wishes of one tenant would make no job now: their key has made one (or is refused)."""
    keyed = [w for w in wishes if w.key is not None and not w.first_try]
    if not keyed:
        return [False] * len(wishes)
    within = [w.repeat.again_within_s if w.repeat is not None else None for w in keyed]
    found = set(
        await session.scalars(
            _KNOWN,
            {
                "tenant": keyed[0].caller.tenant_id,
                "keys": [w.key for w in keyed],
                "within": within,
            },
        )
    )
    return [w.key in found and not w.first_try for w in wishes]


def _replay(wish: Wish, first: tuple[bytes, Job]) -> Submitted | Conflict:
    mark, job = first
    if mark == fingerprint(wish.spec):
        return Submitted(job, replayed=True)
    return Conflict(
        "This Idempotency-Key was used with another body; use a new key for a new job",
        param="Idempotency-Key",
        code="idempotency_key_reused",
    )


_INSERT = outbox.recorded(
    f"""INSERT INTO jobs (id, tenant_id, kind, model, adapter, priority, rank, queue, key_id,
                          reserved_tokens, spec, metadata, deadline, guard)
        SELECT v.id, v.tenant, v.kind, v.model, v.adapter, v.priority, v.rank, v.queue, v.key, v.tokens, v.spec,
               v.labels, now() + make_interval(secs => v.win),
               -- Here and nowhere else: whoever submits a job cannot forget it.
               CASE WHEN v.kind IN ('inference', 'batch')
                    THEN (SELECT g.active FROM guard_current g WHERE g.tenant_id = v.tenant) END
        FROM unnest(:ids, :tenants, :kinds, :models, :adapters, :priorities, :ranks, :queues, :keys, :tokens,
                    cast(:specs AS jsonb[]), cast(:labels AS jsonb[]), :windows)
             AS v(id, tenant, kind, model, adapter, priority, rank, queue, key, tokens, spec, labels, win)
        RETURNING {outbox.FACT}, created_at, available_at, deadline, guard, key_id, model, reserved_tokens,
                  'job.queued' AS fact_type, jsonb_build_object('queue', queue) AS fact_data""",  # noqa: S608 - only constants are formatted in
    reserve("unnest(:ids, :asked, :caps, :priced) AS w(id, asked, cap, priced)"),
).bindparams(
    *(
        bindparam(name, type_=ARRAY(Text))
        for name in (
            "ids",
            "tenants",
            "kinds",
            "models",
            "adapters",
            "priced",
            "priorities",
            "queues",
            "keys",
            "specs",
            "labels",
        )
    ),
    bindparam("ranks", type_=ARRAY(Integer)),
    *(bindparam(name, type_=ARRAY(BigInteger)) for name in ("tokens", "asked")),
    bindparam("caps", type_=ARRAY(Numeric)),
    bindparam("windows", type_=ARRAY(Float)),
)


async def _insert(session: AsyncSession, new: Sequence[tuple[Wish, str]]) -> dict[str, Job]:
    if not new:
        return {}
    jobs = {job_id: _job(wish, job_id) for wish, job_id in new}
    rows = await session.execute(
        _INSERT,
        {
            "ids": list(jobs),
            "tenants": [j.tenant_id for j in jobs.values()],
            "kinds": [j.kind for j in jobs.values()],
            "models": [j.model for j in jobs.values()],
            "adapters": [j.adapter for j in jobs.values()],
            # What is put on top of a model costs what the model does.
            "priced": [w.model.runs_on or w.model.name for w, _ in new],
            "priorities": [j.priority for j in jobs.values()],
            "ranks": [j.rank for j in jobs.values()],
            "queues": [j.queue for j in jobs.values()],
            "keys": [j.key_id for j in jobs.values()],
            "tokens": [j.reserved_tokens for j in jobs.values()],
            "asked": [asked_tokens(w.spec) for w, _ in new],
            "caps": [cost_cap(w.spec) for w, _ in new],
            "specs": [orjson.dumps(j.spec).decode() for j in jobs.values()],
            "labels": [orjson.dumps(j.labels).decode() for j in jobs.values()],
            "windows": [
                float(window_s(w.spec.completion_window)) if w.spec.completion_window else None
                for w, _ in new
            ],
        },
    )
    for row in rows:
        job = jobs[row.id]
        job.created_at, job.available_at = row.created_at, row.available_at
        job.deadline, job.guard = row.deadline, row.guard
    return jobs


def _job(wish: Wish, job_id: str) -> Job:
    spec = wish.spec
    return Job(
        id=job_id,
        tenant_id=wish.caller.tenant_id,
        kind=spec.kind,
        model=wish.model.name,
        # Pinned: whatever an alias points to later, every attempt answers with the same weights.
        adapter=wish.model.adapter or None,
        priority=spec.priority,
        rank=RANKS[spec.priority],
        queue=queue_of(spec, wish.model),
        state="queued",
        key_id=wish.caller.key_id or None,
        reserved_tokens=reservation(spec, wish.model),
        spec=spec.model_dump(exclude=_ENVELOPE),
        labels=spec.metadata,
        attempt=0,
        failures=0,
        seq=1,
    )


def fingerprint(spec: AnySpec) -> bytes:
    """The same body, whatever the order of its keys and with its defaults written out or not.

    Without the defaults: a key must survive an upgrade that adds a field.
    """
    plain = spec.model_dump(mode="json", exclude={"idempotency_key"}, exclude_defaults=True)
    canonical = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()


_RESERVE = text(
    """INSERT INTO idempotency_keys (tenant_id, key, fingerprint, job_id)
       SELECT * FROM unnest(:tenants, :keys, :marks, :ids)
       ON CONFLICT DO NOTHING RETURNING job_id"""
).bindparams(
    bindparam("tenants", type_=ARRAY(Text)),
    bindparam("keys", type_=ARRAY(Text)),
    bindparam("marks", type_=ARRAY(LargeBinary)),
    bindparam("ids", type_=ARRAY(Text)),
)


async def _reserve(session: AsyncSession, named: Sequence[tuple[Wish, str]]) -> set[str]:
    """Take the keys; returns the ids whose key somebody else has.

    A twin under way elsewhere is waited for on the unique index: when it commits we replay it, when it
    rolls back we become the first. Keys are taken in one order, so that two such waits cannot cross.
    """
    keyed = sorted(
        (wish.caller.tenant_id, wish.key, job_id, fingerprint(wish.spec))
        for wish, job_id in named
        if wish.key is not None and not wish.first_try
    )
    if not keyed:
        return set()
    tenants, keys, job_ids, marks = (list(column) for column in zip(*keyed, strict=True))
    taken = await session.scalars(
        _RESERVE, {"tenants": tenants, "keys": keys, "marks": marks, "ids": job_ids}
    )
    return set(job_ids) - set(taken)


_FORGET = text(
    """DELETE FROM idempotency_keys k USING unnest(:tenants, :keys, :within) AS v(tenant, key, within)
       WHERE k.tenant_id = v.tenant AND k.key = v.key
         AND (k.created_at < now() - make_interval(secs => v.within) OR EXISTS (
             SELECT FROM jobs j WHERE j.id = k.job_id AND j.cancel_requested_at IS NOT NULL))"""
).bindparams(
    bindparam("tenants", type_=ARRAY(Text)),
    bindparam("keys", type_=ARRAY(Text)),
    bindparam("within", type_=ARRAY(Float)),
)


async def _forget(session: AsyncSession, wishes: Sequence[Wish]) -> None:
    """Keys made from a body that no longer stand for a job worth coming back to."""
    again = sorted(
        (wish.caller.tenant_id, wish.key, wish.repeat.again_within_s)
        for wish in wishes
        if wish.key and wish.repeat is not None and wish.repeat.again_within_s is not None
    )
    if again:
        tenants, keys, within = (list(column) for column in zip(*again, strict=True))
        await session.execute(_FORGET, {"tenants": tenants, "keys": keys, "within": within})


_TAKE_OVER = text(
    """INSERT INTO idempotency_keys (tenant_id, key, fingerprint, job_id)
       SELECT * FROM unnest(:tenants, :keys, :marks, :ids)
       ON CONFLICT (tenant_id, key) DO UPDATE
       SET fingerprint = excluded.fingerprint, job_id = excluded.job_id, created_at = now()"""
).bindparams(
    bindparam("tenants", type_=ARRAY(Text)),
    bindparam("keys", type_=ARRAY(Text)),
    bindparam("marks", type_=ARRAY(LargeBinary)),
    bindparam("ids", type_=ARRAY(Text)),
)


async def _take_over(session: AsyncSession, named: Sequence[tuple[Wish, str]]) -> None:
    """First tries: two of the same body are two jobs, and a further try is the later one's."""
    latest = {(w.caller.tenant_id, w.key): (w, job_id) for w, job_id in named if w.first_try}
    if not latest:
        return
    rows = [(t, k, fingerprint(w.spec), i) for (t, k), (w, i) in sorted(latest.items(), key=str)]
    tenants, keys, marks, ids = (list(column) for column in zip(*rows, strict=True))
    await session.execute(
        _TAKE_OVER, {"tenants": tenants, "keys": keys, "marks": marks, "ids": ids}
    )


async def _replays(
    session: AsyncSession, late: Sequence[Wish]
) -> dict[tuple[str, str | None], tuple[bytes, Job]]:
    if not late:
        return {}
    wanted = {(wish.caller.tenant_id, wish.key) for wish in late}
    rows = await session.execute(
        select(IdempotencyKey, Job)
        .join(Job, Job.id == IdempotencyKey.job_id)
        .where(tuple_(IdempotencyKey.tenant_id, IdempotencyKey.key).in_(wanted))
    )
    return {(key.tenant_id, key.key): (key.fingerprint, job) for key, job in rows}
