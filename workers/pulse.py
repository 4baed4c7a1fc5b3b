"""The heartbeat of a worker: renews leases of attempts that make progress, and tells the others to stop.

It is tied to progress, not a blind timer: an engine that hangs loses its leases, and the process ends.
"""

import asyncio
import time

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.events.log import CANCEL_CHANNEL
from core.jobs import attempts
from core.jobs.attempts import Renewal
from workers.context import Attempt, Why
from workers.process import Worker

log = structlog.get_logger(__name__)

TICK_S = 0.5


async def beat(worker: Worker) -> None:
    """Run for ever beside the attempts."""
    asked = 0.0
    while True:
        await asyncio.sleep(TICK_S)
        now = time.monotonic()
        running = list(worker.running.values())
        _overdue(worker, running, now)
        due = [
            a
            for a in running
            if now - a.renewed >= worker.limits.heartbeat_s and (a.why is None or a.why.saves)
        ]
        try:
            if due:
                await _renew(worker, due)
            if running and now - asked >= 1.0:
                asked = now
                async with worker.db.single() as session:
                    wanted = await attempts.wishes(session, [a.claim.id for a in running])
                for job_id, cancelled in wanted.items():
                    stop(worker, job_id, Why.CANCELLED if cancelled else Why.PAUSED)
                await worker.give_way()
        except (SQLAlchemyError, OSError) as error:
            log.warning("heartbeat did not reach postgres", error=repr(error))


def stop(worker: Worker, job_id: str, why: Why) -> None:
    if attempt := worker.running.get(job_id):
        attempt.stop(why)


def _overdue(worker: Worker, running: list[Attempt], now: float) -> None:
    hung = worker.idle_s() > worker.settings.stall_s
    for attempt in running:
        if attempt.deadline is not None and now >= attempt.deadline:
            attempt.stop(Why.EXPIRED)
        elif hung:
            attempt.stop(Why.STALLED)
        elif now >= attempt.lease_ends:
            # By our own clock the lease is over: somebody else may own the job already.
            attempt.stop(Why.LOST)
    if hung and not worker.dead.is_set():
        log.error("engine hangs; giving its jobs back and ending", stall_s=worker.settings.stall_s)
        worker.dead.set()


async def _renew(worker: Worker, due: list[Attempt]) -> None:
    sent = time.monotonic()
    renewals = []
    for attempt in due:
        # While Redis answers, only what it acknowledged is vouched for: a reader then meets no snapshot
        # where the deltas are still to come.
        seq = attempt.appended if worker.voice.healthy else attempt.seq
        seq = max(seq, attempt.base)
        renewals.append(
            Renewal(attempt.claim.id, attempt.claim.attempt, seq, attempt.progress(seq))
        )
    async with worker.db.single() as session:
        renewed = await attempts.renew(session, renewals, lease_s=worker.limits.lease_s)
    for attempt in due:
        answer = renewed.get(attempt.claim.id)
        if answer is None:
            if attempt.claim.id in worker.running:
                attempt.stop(Why.LOST)
            continue
        attempt.lease_ends = sent + worker.limits.lease_s
        attempt.ceiling = answer.seq_ceiling
        if attempt.doubted is None or attempt.doubted <= sent:
            attempt.doubted, attempt.renewed = None, sent
        worker.voice.wake(attempt)
        if answer.cancel or answer.pause:
            attempt.stop(Why.CANCELLED if answer.cancel else Why.PAUSED)


async def listen(worker: Worker, redis: Redis) -> None:
    """Cancel hints over pub/sub: the fast path beside the question `beat` asks every second."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(CANCEL_CHANNEL)
                while True:
                    message = await channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
                    if message is not None:
                        stop(worker, message["data"].decode(), Why.CANCELLED)
        except (RedisError, OSError) as error:
            log.debug("cancel hints are away; postgres is asked meanwhile", error=repr(error))
            await asyncio.sleep(0.5)
