"""One inference attempt: read what was already said, generate on from there, say the rest."""

import time
from typing import Any

from core import telemetry
from core.jobs import inference
from core.jobs.inference import InferenceSpec, check_length
from workers.answering.answer import Answer, Ask, Prompt, answered, encoded
from workers.answering.ask import Kept
from workers.answering.guards import Guarding
from workers.context import Attempt
from workers.engine import Chunk
from workers.process import InferenceWorker


async def handle(
    worker: InferenceWorker, attempt: Attempt
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the result and the usage, as `answered` does.

    Raises InvalidInput when the model served now holds less context than the one asked for at submit.
    """
    # Validated anew: a job may have been queued before a field was there.
    spec = InferenceSpec.model_validate(attempt.claim.spec)
    prompt = Prompt(await encoded(worker.text, spec))
    check_length(len(prompt.ids), max(spec.max_tokens, 1), worker.model.context)
    progress = attempt.progress() or {}
    before = inference.choices(progress)
    prompt.resumes(progress.get("took") or {})
    attempt.took = prompt.took
    answers = [Answer(i, **before.get(i, {})) for i in range(spec.n)]
    claim = attempt.claim
    guard = await worker.guards.of(claim.tenant_id, claim.guard, claim.labels)
    async with worker.adapters.held(claim.adapter):
        return await answered(_ask(worker, attempt, guard), spec, prompt, answers)


def _ask(worker: InferenceWorker, attempt: Attempt, guard: Guarding | None) -> Ask:
    def say(chunk: Chunk, index: int, likely: list[dict[str, Any]]) -> None:
        first = attempt.first_say is None
        attempt.say(chunk.text, chunk.tokens, chunk.finish, index=index, logprobs=likely)
        if first and attempt.first_say is not None:
            waited = attempt.first_say - attempt.began
            telemetry.FIRST_TOKEN.labels(worker.model.name).observe(waited)

    def alive() -> None:
        attempt.last_progress = time.monotonic()

    def keep(index: int, kept: Kept) -> None:
        attempt.keep(index, kept.raw, kept.done, kept.pending)

    claim = attempt.claim
    return Ask(
        id=claim.id,
        # The attempt is part of it: an engine may still hold the one that was stopped.
        request_id=f"{claim.id}-{claim.attempt}",
        tenant_id=claim.tenant_id,
        engine=worker.engine,
        model=worker.model,
        text=worker.text,
        say=say,
        alive=alive,
        prices=claim.prices,
        adapter=claim.adapter,
        guard=guard,
        keep=keep,
    )
