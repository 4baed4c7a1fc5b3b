"""The life of an attempt: claim -> handle -> record. One page for every kind, and the retry decision."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core import telemetry
from core.errors import PenstockError, Refused, Retryable, Unavailable
from core.events.log import POKE_CHANNEL
from core.jobs import (
    attempts,
    audit,
    batch,
    dataset,
    embedding,
    explain,
    finetune,
    inference,
    kinds,
)
from core.jobs.attempts import Outcome, Recorded, Requeue
from core.jobs.job import State
from core.jobs.ringing import suspect_after
from workers.audit import handler as audit_handler
from workers.batch import handler as batch_handler
from workers.context import Attempt, Why
from workers.dataset import handler as dataset_handler
from workers.embedding import handler as embedding_handler
from workers.engine import EngineDead
from workers.explain import handler as explain_handler
from workers.finetune import handler as finetune_handler
from workers.inference import handler as inference_handler
from workers.process import EmbeddingWorker, FinetuneWorker, InferenceWorker, Worker

log = structlog.get_logger(__name__)

# How long the last events may take to reach Redis before readers are left to Postgres.
LAST_WORDS_S = 2.0
# Postgres may be restarted while a job ends: the outcome is kept and tried until it is no longer ours.
RECORD_FOR_S = 120.0


@dataclass(frozen=True, slots=True)
class Done:
    """A handler's success."""

    result: dict[str, Any]
    usage: dict[str, Any]


async def run(worker: Worker, job_id: str) -> None:
    """Answer one doorbell. Returns when the job is recorded, given back, or was never ours."""
    if worker.draining or job_id in worker.running:
        return
    claim = await worker.claim(job_id)
    if claim is None:
        return
    attempt = Attempt(claim, worker.voice, worker.limits.lease_s)
    worker.start(attempt)
    worker.voice.wake(attempt)
    structlog.contextvars.bind_contextvars(
        job=job_id, tenant=claim.tenant_id, attempt=claim.attempt
    )
    log.info("claimed", kind=claim.kind, model=claim.model)
    if claim.attempt == 1:
        telemetry.QUEUE_WAIT.labels(claim.kind).observe(max(claim.waited_s, 0))
    try:
        verdict = await _handle(worker, attempt)
        if verdict is not None:
            await _record(worker, attempt, verdict)
    finally:
        worker.end(attempt)


async def _handle(worker: Worker, attempt: Attempt) -> Outcome | Requeue | None:
    attempt.task = asyncio.create_task(_dispatch(worker, attempt))
    if worker.draining:
        attempt.stop(Why.RELEASED)
    try:
        done = await attempt.task
    except asyncio.CancelledError:
        if attempt.why is None:
            raise
        return _stopped(worker, attempt, attempt.why)
    except Refused as error:
        return _failed(attempt, error.code, error.message, error.param)
    except EngineDead as error:
        worker.dead.set()
        return _again(worker, attempt, error)
    except (Retryable, Unavailable, DBAPIError) as error:
        return _again(worker, attempt, error)
    except PenstockError as error:
        return _failed(attempt, error.code, error.message, error.param)
    except Exception as error:
        log.exception("attempt failed with an unknown error")
        if attempt.claim.failures >= 1:
            return _failed(attempt, "internal_error", "The worker failed on this job twice.")
        return _again(worker, attempt, error)
    return _outcome(attempt, State.SUCCEEDED, result=done.result, usage=done.usage)


async def _dispatch(worker: Worker, attempt: Attempt) -> Done:
    # By the worker too, whose engine decides what it can do; a doorbell that went astray is no reason to try.
    match worker, attempt.claim.kind:
        case InferenceWorker(), inference.KIND:
            return Done(*await inference_handler.handle(worker, attempt))
        case EmbeddingWorker(), embedding.KIND:
            return Done(*await embedding_handler.handle(worker, attempt))
        case InferenceWorker() | EmbeddingWorker(), batch.KIND:
            return Done(*await batch_handler.handle(worker, attempt))
        case InferenceWorker(), audit.KIND:
            return Done(*await audit_handler.handle(worker, attempt))
        case InferenceWorker(), explain.KIND:
            return Done(*await explain_handler.handle(worker, attempt))
        case FinetuneWorker(), finetune.KIND:
            return Done(*await finetune_handler.handle(worker, attempt))
        case FinetuneWorker(), dataset.KIND:
            return Done(*await dataset_handler.handle(worker, attempt))
    raise Refused(f"This worker does not know the kind {attempt.claim.kind!r}")


def _outcome(
    attempt: Attempt,
    state: State,
    *,
    result: dict[str, Any] | None,
    usage: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> Outcome:
    attempt.seal()
    claim = attempt.claim
    data = {k: v for k, v in (("result", result), ("usage", usage), ("error", error)) if v}
    return Outcome(claim.id, claim.attempt, state, attempt.seq + 1, result, usage, error, data)


def _unfinished(attempt: Attempt, state: State, error: dict[str, Any] | None = None) -> Outcome:
    """The end of a job with what it has, and what that took."""
    attempt.seal()
    kind, progress = attempt.claim.kind, attempt.progress()
    result, usage = kinds.partial(kind, progress), kinds.usage(kind, progress)
    return _outcome(attempt, state, result=result, usage=usage, error=error)


def _failed(attempt: Attempt, code: str, message: str, param: str | None = None) -> Outcome:
    field = {} if param is None else {"param": param}
    return _unfinished(attempt, State.FAILED, {"code": code, "message": message} | field)


def _stopped(worker: Worker, attempt: Attempt, why: Why) -> Outcome | Requeue | None:
    match why:
        case Why.CANCELLED:
            return _unfinished(attempt, State.CANCELLED)
        case Why.EXPIRED:
            return _unfinished(attempt, State.EXPIRED)
        case Why.RELEASED | Why.PAUSED | Why.PREEMPTED:
            return _back(attempt, why.value, charged=False)
        case Why.STALLED:
            return _again(worker, attempt, Retryable("The engine stopped answering."))
        case Why.LOST:
            telemetry.LEASES_LOST.labels(attempt.claim.kind).inc()
            log.warning("lease lost; another attempt owns the job")
            return None


def _again(worker: Worker, attempt: Attempt, error: Exception) -> Outcome | Requeue:
    failures = attempt.claim.failures + 1
    log.warning("attempt failed", error=repr(error), failures=failures)
    if failures >= worker.settings.max_attempts:
        return _failed(attempt, "attempts_exhausted", f"The job failed in {failures} attempts.")
    pause = worker.settings.retry_backoff_s * 2 ** (failures - 1)
    return _back(attempt, "retry", charged=True, pause_s=pause)


def _back(attempt: Attempt, reason: str, *, charged: bool, pause_s: float = 0.0) -> Requeue:
    attempt.seal()
    claim = attempt.claim
    return Requeue(
        claim.id, claim.attempt, attempt.seq + 1, attempt.progress(), reason, charged, pause_s
    )


async def _record(worker: Worker, attempt: Attempt, verdict: Outcome | Requeue) -> None:
    """Write the verdict under its number, then let it be heard. A verdict that is not ours is dropped."""
    recorded = await _write(worker, verdict)
    if recorded is None:
        telemetry.LEASES_LOST.labels(attempt.claim.kind).inc()
        log.warning("the job was no longer ours to record")
        return
    kind = attempt.claim.kind
    if isinstance(verdict, Outcome):
        ended = verdict.state
        telemetry.JOBS_ENDED.labels(kind, ended).inc()
        telemetry.JOB_SECONDS.labels(kind, ended).observe(time.monotonic() - attempt.began)
        attempt.end(f"job.{ended}", recorded.at, recorded.data)
    else:
        telemetry.JOBS_REQUEUED.labels(kind, verdict.reason).inc()
        attempt.end("job.requeued", recorded.at, recorded.data)
    log.info("recorded", outcome=verdict.state if isinstance(verdict, Outcome) else verdict.reason)
    await worker.voice.drained(attempt, LAST_WORDS_S)
    # Suspects run one after the other: the next waits for this one's end.
    if isinstance(verdict, Requeue) or attempt.claim.failures >= suspect_after(
        worker.settings.max_attempts
    ):
        try:
            await worker.events.publish(POKE_CHANNEL, kind)
        except Unavailable:
            log.debug("the dispatcher will find the job on its sweep")


async def _write(worker: Worker, verdict: Outcome | Requeue) -> Recorded | None:
    tried_until = time.monotonic() + RECORD_FOR_S
    pause = 0.05
    while True:
        try:
            if isinstance(verdict, Outcome):
                return await worker.finish(verdict)
            async with worker.db.begin() as session:
                return await attempts.requeue(session, verdict)
        except (SQLAlchemyError, OSError) as error:
            # The statement may have been applied before the connection broke: trying again then finds
            # the job ended, answers None, and readers get its last event from Postgres.
            if time.monotonic() > tried_until:
                log.exception("outcome not recorded; the lease will run out and the job be rescued")
                return None
            log.warning("could not record yet", error=repr(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)
