"""One attempt of one step of a batch."""

from typing import Any

from core.jobs.batch import BatchSpec
from workers.batch import finish, shard, validate
from workers.context import Attempt
from workers.process import EmbeddingWorker, InferenceWorker


async def handle(
    worker: InferenceWorker | EmbeddingWorker, attempt: Attempt
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each step can be run again from its start: what it did is in Postgres, and it looks there first."""
    spec = BatchSpec.model_validate(attempt.claim.spec)
    match spec.step:
        case "validate":
            await validate.validate(worker, attempt, spec)
        case "shard":
            await shard.answer(worker, attempt, spec)
        case "finish":
            await finish.finish(worker, attempt, spec)
    return {"step": spec.step}, {}
