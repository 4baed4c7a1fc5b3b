"""One embedding spec answered: count its texts, have vectors made of them piece by piece, shorten them if asked."""

import base64
import math
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from core import telemetry
from core.errors import PenstockError
from core.jobs import embedding
from core.jobs.embedding import EmbeddingSpec
from workers.process import EmbeddingWorker

log = structlog.get_logger(__name__)

# Many texts go through the model in pieces of so many, and others get in between.
PIECE = 32


@dataclass
class Texts:
    """Token ids of a spec's texts, and the vectors made of them so far: who is stopped goes on behind those."""

    ids: list[list[int]]
    vectors: list[bytes] = field(default_factory=list)
    engine_s: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(map(len, self.ids))


async def counted(worker: EmbeddingWorker, spec: EmbeddingSpec) -> Texts:
    """Raises InvalidInput for what the worker's model cannot do or read."""
    embedding.check(spec, worker.model)
    return Texts(await embedding.counted(spec, worker.text, worker.model.context))


async def measured(
    worker: EmbeddingWorker, spec: EmbeddingSpec, texts: Texts, alive: Callable[[], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns {"vectors", "dimensions"}, each vector base64 of float32 little-endian, and the usage in tokens.

    `alive()`: the engine gave something.
    """
    dimensions = spec.dimensions or worker.model.dimensions
    while len(texts.vectors) < len(texts.ids):
        first = len(texts.vectors)
        # What it waited for the engine counts, too: texts of several jobs share a pass.
        began = time.monotonic()
        try:
            made = await _made(worker, texts.ids[first : first + PIECE])
        finally:
            texts.engine_s += time.monotonic() - began
        texts.vectors += [shortened(one, dimensions) for one in made]
        alive()
    tokens = texts.tokens
    telemetry.TOKENS.labels(worker.model.name, "in").inc(tokens)
    usage = {
        "prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens,
        "engine_seconds": round(texts.engine_s, 4),
    }  # fmt: skip
    told = [base64.b64encode(one).decode() for one in texts.vectors]
    return {"vectors": told, "dimensions": dimensions}, usage


async def _made(worker: EmbeddingWorker, piece: list[list[int]]) -> list[bytes]:
    try:
        return await worker.embed(piece)
    except PenstockError:
        raise
    except Exception as error:
        # A shared pass does not say whose text it failed on: alone, it is this one's or nobody's.
        log.warning("a pass failed; trying a piece of it alone", error=repr(error))
        return await worker.engine.embed(piece)


def shortened(vector: bytes, dimensions: int) -> bytes:
    """The first `dimensions` numbers of a vector, made of length 1 again."""
    if len(vector) == 4 * dimensions:
        return vector
    kept = array("f", vector[: 4 * dimensions])
    length = math.sqrt(sum(x * x for x in kept)) or 1.0
    return array("f", (x / length for x in kept)).tobytes()
