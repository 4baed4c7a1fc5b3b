"""One line of a batch on its way through the engine; it may leave it and go on later."""

import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import structlog

from core.batches.lines import SPENT, Outcome
from core.batches.tables import Batch
from core.catalog.prices import Prices
from core.errors import InvalidInput, PenstockError, Retryable
from core.jobs import inference
from core.jobs.kinds import InferenceJob
from core.ledger.caps import check
from core.openai import batch_lines
from core.openai.line import Asked
from workers.answering.answer import Answer, Ask, Prompt, answered, capped, encoded
from workers.engine import Chunk
from workers.process import InferenceWorker

log = structlog.get_logger(__name__)


def gone(row: Any) -> Outcome:
    return _error(row, "input_file_gone", "The input file was deleted before this line was run.")


def _error(row: Any, code: str, message: str, took: dict[str, Any] | None = None) -> Outcome:
    error = orjson.dumps({"code": code, "message": message}).decode()
    return Outcome(row.line, 0, None, error, took or {})


@dataclass
class Part:
    """One prompt of a line, and its answers as far as they have come."""

    spec: InferenceJob
    prompt: Prompt
    answers: list[Answer]
    done: tuple[dict[str, Any], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """The most that a line can take."""

    tokens: int
    cost: Decimal


@dataclass
class Answering:
    """`run` as often as it is let into the engine: it goes on where it was."""

    worker: InferenceWorker
    batch: Batch
    row: Any
    raw: bytes
    prices: Prices
    asked: Asked | None = None
    parts: list[Part] = field(default_factory=list)
    tries: int = 0
    refused: Outcome | None = None

    @property
    def id(self) -> str:
        return f"{self.batch.id.removeprefix('batch_')}_{self.row.line}"

    async def need(self) -> Need | None:
        """What it may take; None when it takes nothing, since it is refused."""
        await self._prepare()
        if self.refused is not None:
            return None
        limited = [(p, capped(p.spec, p.prompt, self.prices)[0]) for p in self.parts]
        sizes = [(len(p.prompt.ids), spec.max_tokens * spec.n) for p, spec in limited]
        cost = sum((self.prices.cost(*size) for size in sizes), Decimal(0))
        return Need(sum(map(sum, sizes)), cost)

    async def _prepare(self) -> None:
        """Read the body, once; `refused` at once when it asks for what the model cannot do."""
        if self.asked is not None or self.refused is not None:
            return
        worker = self.worker
        try:
            body = orjson.loads(self.raw)["body"]
            asked = batch_lines.asked(
                self.batch.endpoint, body, worker.text, worker.settings.chat_max_tokens
            )
            self.parts.clear()
            for spec in asked.specs:
                batch_lines.sound(asked, spec, worker.text)
                ids = await encoded(worker.text, spec)
                fit = batch_lines.fitted(asked, spec, len(ids), worker.model)
                check(spec, len(ids), spec.n if spec.max_tokens else 0, self.prices)
                self.parts.append(Part(fit, Prompt(ids), [Answer(i) for i in range(fit.n)]))
            self.asked = asked
        except InvalidInput as error:
            self.refused = self._whole(400, batch_lines.refused(error), {})

    async def run(self) -> Outcome:
        """Generate what is still missing. A line the engine refuses fails alone; a dead engine is raised."""
        self.tries += 1
        # Only now, with a seat: reading bodies and making tokens of them takes the loop from those who wait.
        await self._prepare()
        if self.refused is not None:
            return self.refused
        try:
            for number, part in enumerate(self.parts):
                if part.done is None:
                    part.done = await answered(
                        self._ask(number), part.spec, part.prompt, part.answers
                    )
        except Retryable:
            raise
        except InvalidInput as error:
            return self._whole(400, batch_lines.refused(error), self._took())
        except PenstockError as error:
            return _error(self.row, error.code, error.message, self._took())
        except Exception as error:  # whatever it is, it is this line's
            log.exception("a line failed", batch=self.batch.id, line=self.row.line)
            told = f"The worker failed on this line: {error!r}"
            return _error(self.row, "internal_error", told, self._took())
        return self._answer()

    def _answer(self) -> Outcome:
        assert self.asked is not None
        done = [part.done for part in self.parts if part.done is not None]
        results, usages = [d[0] for d in done], [d[1] for d in done]
        head = batch_lines.head(self.asked, self.id, self.batch.created_at, self.worker.model)
        body = self.asked.answer(head | {"created": int(time.time())}, results, usages)
        return self._whole(200, body, {n: sum(u.get(n, 0) for u in usages) for n in SPENT})

    def _took(self) -> dict[str, Any]:
        """What a line took that has no answer: of prompts that have been in the engine."""
        used = [
            inference.spent(part.prompt.took(), sum(len(a.tokens) for a in part.answers))
            for part in self.parts
            if part.prompt.engine_s > 0
        ]
        return {n: sum(u[n] for u in used) for n in SPENT}

    def _whole(self, status: int, body: Any, usage: dict[str, Any]) -> Outcome:
        response = {"status_code": status, "request_id": f"req_{self.id}", "body": body}
        return Outcome(self.row.line, status, orjson.dumps(response).decode(), None, usage)

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
        )


def _silent(_chunk: Chunk, _index: int, _likely: list[dict[str, Any]]) -> None:
    """A line is told of when it is finished."""


def _silent_too() -> None:
    """The shard's heartbeat asks the engine itself."""
