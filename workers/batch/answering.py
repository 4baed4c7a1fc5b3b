"""A line that wants answers written: its prompts, and how far each has come."""

import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from core.batches.lines import SPENT
from core.batches.tables import Batch
from core.catalog.models import Served
from core.catalog.prices import Prices
from core.catalog.versions import together
from core.jobs import inference
from core.jobs.kinds import InferenceJob
from core.ledger.caps import check
from core.openai import batch_lines
from core.openai.line import Asked
from workers.answering.answer import Answer, Ask, Prompt, answered, capped, encoded
from workers.answering.guards import Guarding
from workers.batch.line import Need, id_of
from workers.engine import Chunk
from workers.process import InferenceWorker


@dataclass
class Part:
    """One prompt of a line, and its answers as far as they have come."""

    spec: InferenceJob
    prompt: Prompt
    answers: list[Answer]
    done: tuple[dict[str, Any], dict[str, Any]] | None = None


async def read(
    worker: InferenceWorker, batch: Batch, row: Any, prices: Prices, guard: str, body: Any
) -> "Answering":
    """`guard`: the digest of what the answers go by. Raises InvalidInput when the body asks for what the model
    cannot do."""
    limit = worker.settings.chat_max_tokens
    asked = batch_lines.asked(batch.endpoint, body, worker.text, limit)
    parts = []
    for spec in asked.specs:
        batch_lines.sound(asked, spec, worker.text)
        ids = await encoded(worker.text, spec)
        fit = batch_lines.fitted(asked, spec, len(ids), worker.model)
        check(spec, len(ids), spec.n if spec.max_tokens else 0, prices)
        parts.append(Part(fit, Prompt(ids), [Answer(i) for i in range(fit.n)]))
    labels = {**(batch.labels or {}), **asked.specs[0].metadata}
    by = await worker.guards.of(batch.tenant_id, guard, labels)
    return Answering(worker, batch, id_of(batch, row), prices, asked, parts, by)


@dataclass
class Answering:
    """See workers.batch.line.Work."""

    worker: InferenceWorker
    batch: Batch
    id: str
    prices: Prices
    asked: Asked
    parts: list[Part]
    guard: Guarding | None = None
    tries: int = 0

    def need(self) -> Need:
        limited = [(p, capped(p.spec, p.prompt, self.prices)[0]) for p in self.parts]
        sizes = [(len(p.prompt.ids), spec.max_tokens * spec.n) for p, spec in limited]
        cost = sum((self.prices.cost(*size) for size in sizes), Decimal(0))
        return Need(sum(map(sum, sizes)), cost)

    async def run(self) -> tuple[Any, dict[str, Any]]:
        self.tries += 1
        async with self.worker.adapters.held(self.batch.adapter or ""):
            for number, part in enumerate(self.parts):
                if part.done is None:
                    ask = self._ask(number)
                    part.done = await answered(ask, part.spec, part.prompt, part.answers)
        done = [part.done for part in self.parts if part.done is not None]
        results, usages = [d[0] for d in done], [d[1] for d in done]
        head = batch_lines.head(self.asked, self.id, self.batch.created_at, self._model())
        body = self.asked.answer(head | {"created": int(time.time())}, results, usages)
        return body, {n: sum(u.get(n, 0) for u in usages) for n in SPENT}

    def _model(self) -> Served:
        """As the API knows it, so that both say the same of themselves."""
        base, adapter = self.worker.model, self.batch.adapter
        if not adapter:
            return base
        return replace(base, name=self.batch.model, digest=together(base.digest, adapter))

    def took(self) -> dict[str, Any]:
        """Of prompts that have been in the engine."""
        used = [
            inference.spent(part.prompt.took(), sum(len(a.tokens) for a in part.answers))
            for part in self.parts
            if part.prompt.engine_s > 0
        ]
        return {n: sum(u[n] for u in used) for n in SPENT}

    def _ask(self, number: int) -> Ask:
        worker = self.worker
        return Ask(
            id=f"{self.id}_{number}" if number else self.id,
            # An engine may still hold the request that was stopped.
            request_id=f"{self.id}-{number}-{self.tries}-{time.monotonic_ns()}",
            tenant_id=self.batch.tenant_id,
            engine=worker.engine,
            model=worker.model,
            text=worker.text,
            say=_silent,
            alive=_silent_too,
            prices=self.prices,
            adapter=self.batch.adapter or "",
            guard=self.guard,
        )


def _silent(_chunk: Chunk, _index: int, _likely: list[dict[str, Any]]) -> None:
    """A line is told of when it is finished."""


def _silent_too() -> None:
    """The shard's heartbeat asks the engine itself."""
