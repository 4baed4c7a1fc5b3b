"""One embedding attempt: count the texts, have vectors made of them piece by piece, shorten them if asked."""

import asyncio
import base64
import math
import time
from array import array
from typing import Any

from core import telemetry
from core.jobs import embedding
from core.jobs.embedding import EmbeddingSpec
from workers.context import Attempt
from workers.process import EmbeddingWorker

# A large job goes through the model in pieces of so many texts, and small ones get in between.
PIECE = 32
# Below so many characters counting takes well under a millisecond; above, it must not hold the loop.
INLINE_CHARS = 4000


async def handle(
    worker: EmbeddingWorker, attempt: Attempt
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns {"vectors", "dimensions"}, each vector base64 of float32 little-endian, and the usage in tokens.

    Raises InvalidInput when the model served now reads less than the one asked for at submit.
    """
    spec = EmbeddingSpec.model_validate(attempt.claim.spec)
    embedding.check(spec, worker.model)
    ids = await _ids(worker, spec)
    dimensions = spec.dimensions or worker.model.dimensions
    vectors: list[str] = []
    began = time.monotonic()
    for first in range(0, len(ids), PIECE):
        made = await worker.embed(ids[first : first + PIECE])
        attempt.last_progress = time.monotonic()
        vectors += [base64.b64encode(shortened(one, dimensions)).decode() for one in made]
    # What it waited for the engine counts, too: texts of several jobs share a pass.
    seconds = round(time.monotonic() - began, 4)
    tokens = sum(map(len, ids))
    telemetry.TOKENS.labels(worker.model.name, "in").inc(tokens)
    usage = {
        "prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens, "engine_seconds": seconds
    }  # fmt: skip
    return {"vectors": vectors, "dimensions": dimensions}, usage


async def _ids(worker: EmbeddingWorker, spec: EmbeddingSpec) -> list[list[int]]:
    context = worker.model.context
    if sum(map(len, spec.input)) <= INLINE_CHARS:
        return embedding.token_ids(spec, worker.text, context)
    return await asyncio.to_thread(embedding.token_ids, spec, worker.text, context)


def shortened(vector: bytes, dimensions: int) -> bytes:
    """The first `dimensions` numbers of a vector, made of length 1 again."""
    if len(vector) == 4 * dimensions:
        return vector
    kept = array("f", vector[: 4 * dimensions])
    length = math.sqrt(sum(x * x for x in kept)) or 1.0
    return array("f", (x / length for x in kept)).tobytes()
