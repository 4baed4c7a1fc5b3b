"""One embedding attempt: its texts become vectors, a job's or none."""

import time
from typing import Any

from core.jobs.embedding import EmbeddingSpec
from workers.answering import vectors
from workers.context import Attempt
from workers.process import EmbeddingWorker


async def handle(
    worker: EmbeddingWorker, attempt: Attempt
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns {"vectors", "dimensions"}, each vector base64 of float32 little-endian, and the usage in tokens.

    Raises InvalidInput when the model served now reads less than the one asked for at submit.
    """
    spec = EmbeddingSpec.model_validate(attempt.claim.spec)
    texts = await vectors.counted(worker, spec)

    def alive() -> None:
        attempt.last_progress = time.monotonic()

    return await vectors.measured(worker, spec, texts, alive)
