"""Whether this engine can tell how likely text is: an endpoint that cannot gives figures that look like chance."""

from collections.abc import Callable

from core.audits.likelihoods import fitted, pieces
from workers.answering.likely import likelihoods
from workers.audit.asking import Asker
from workers.engine import Request

_CONTEXT, _CONTINUATIONS = "The capital of France is", (" Paris.", " a banana.")


async def failed(asker: Asker, alive: Callable[[], None]) -> str | None:
    """Why likelihoods cannot be asked for; None: they can."""
    worker, sums = asker.worker, []
    for number, continuation in enumerate(_CONTINUATIONS):
        cut = fitted(pieces(worker.text, _CONTEXT, continuation), worker.model.context)
        prompt = cut.given + cut.scored
        request = Request(
            id=f"{asker.run}-probe-{number}", prompt=prompt, max_tokens=1, prompt_logprobs=1,
            scope=asker.tenant_id, adapter=asker.adapter,
        )  # fmt: skip
        async with worker.adapters.held(asker.adapter):
            likely = await likelihoods(worker.engine, request, alive)
        if len(likely) != len(prompt):
            return f"the engine told {len(likely)} likelihoods of a prompt of {len(prompt)} tokens"
        if likely[0] is not None:
            return "the engine told a likelihood of the first token, which nothing stands before"
        rest = [one.logprob for one in likely[1:] if one is not None]
        if len(rest) != len(prompt) - 1 or len(set(rest)) < 2:
            return "the engine told the same likelihood of every token"
        sums.append(sum(rest[len(cut.given) - 1 :]))
    if sums[0] == sums[1]:
        return "the engine told the same likelihood of two different continuations"
    return None
