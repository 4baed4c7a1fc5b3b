"""A line that wants texts embedded: through the same passes as the texts of jobs and of other lines."""

import contextlib
from dataclasses import dataclass
from typing import Any

from core.catalog.prices import Prices
from core.jobs.kinds import EmbeddingJob
from core.ledger.caps import check
from core.openai import batch_lines, embedding_answers
from workers.answering import vectors
from workers.answering.vectors import PIECE, Texts
from workers.batch.line import Need
from workers.process import EmbeddingWorker


async def read(worker: EmbeddingWorker, prices: Prices, body: Any) -> "Measuring":
    """Raises InvalidInput when the body asks for what the model cannot do."""
    shape = batch_lines.texts(body)
    spec = shape.job()
    texts = await vectors.counted(worker, spec)
    check(spec, texts.tokens, 0, prices)
    return Measuring(worker, prices, spec, texts, shape.encoding_format)


@dataclass
class Measuring:
    """See workers.batch.line.Work. `form`: of the vectors in the answer."""

    worker: EmbeddingWorker
    prices: Prices
    spec: EmbeddingJob
    texts: Texts
    form: str | None

    def need(self) -> Need:
        return Need(self.texts.tokens, self.prices.cost(self.texts.tokens, 0))

    async def run(self) -> tuple[Any, dict[str, Any]]:
        # Lines of many pieces go one after the other: taking turns they would all end at once, and an answer
        # of 2048 vectors is 16 MB.
        many = len(self.texts.ids) > PIECE
        async with self.worker.long if many else contextlib.nullcontext():
            result, usage = await vectors.measured(self.worker, self.spec, self.texts, _silent)
        return embedding_answers.whole(self.worker.model.name, result, usage, self.form), usage

    def took(self) -> dict[str, Any]:
        """As of a job: without all its vectors there is nothing to charge for."""
        return {}


def _silent() -> None:
    """The shard's heartbeat asks the engine itself."""
