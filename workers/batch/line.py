"""One line of a batch on its way through the engine; it may leave it and go on later."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import orjson
import structlog

from core.batches.lines import Outcome
from core.batches.tables import Batch
from core.errors import InvalidInput, PenstockError, Retryable, Unavailable
from core.openai import batch_lines

log = structlog.get_logger(__name__)


def gone(row: Any) -> Outcome:
    return _error(row, "input_file_gone", "The input file was deleted before this line was run.")


def _error(row: Any, code: str, message: str, took: dict[str, Any] | None = None) -> Outcome:
    error = orjson.dumps({"code": code, "message": message}).decode()
    return Outcome(row.line, 0, None, error, took or {})


def id_of(batch: Batch, row: Any) -> str:
    """Of a line, in whatever is made of it."""
    return f"{batch.id.removeprefix('batch_')}_{row.line}"


@dataclass(frozen=True, slots=True)
class Need:
    """The most that a line can take."""

    tokens: int
    cost: Decimal


class Work(Protocol):
    """What a line asks for: known to be sound, and done as far as it is done."""

    def need(self) -> Need: ...

    async def run(self) -> tuple[Any, dict[str, Any]]:
        """The body of the answer, and its usage. Cancelled, it goes on there the next time."""

    def took(self) -> dict[str, Any]:
        """The usage so far of a line that gets no answer."""


@dataclass
class Line:
    """`run` as often as it is let into the engine: it goes on where it was. `read`: work out of its body; raises
    InvalidInput when it asks for what the model cannot do."""

    batch: Batch
    row: Any
    raw: bytes
    read: Callable[[Any], Awaitable[Work]]
    work: Work | None = None

    async def need(self) -> Need | None:
        """What it may take; None when it takes nothing, since it is refused."""
        try:
            return (await self._work()).need()
        except InvalidInput:
            return None

    async def _work(self) -> Work:
        # Only with a seat: reading bodies and making tokens of them takes the loop from those who wait.
        if self.work is None:
            self.work = await self.read(orjson.loads(self.raw)["body"])
        return self.work

    async def run(self) -> Outcome:
        """Do what is still missing. A line the engine refuses fails alone; a dead engine, and a store that is
        away, are raised."""
        try:
            work = await self._work()
            body, usage = await work.run()
        except (Retryable, Unavailable):
            raise
        except InvalidInput as error:
            return self._whole(400, batch_lines.refused(error), self._took())
        except PenstockError as error:
            return _error(self.row, error.code, error.message, self._took())
        except Exception as error:  # whatever it is, it is this line's
            log.exception("a line failed", batch=self.batch.id, line=self.row.line)
            told = f"The worker failed on this line: {error!r}"
            return _error(self.row, "internal_error", told, self._took())
        return self._whole(200, body, usage)

    def _took(self) -> dict[str, Any]:
        return {} if self.work is None else self.work.took()

    def _whole(self, status: int, body: Any, usage: dict[str, Any]) -> Outcome:
        request_id = f"req_{id_of(self.batch, self.row)}"
        response = {"status_code": status, "request_id": request_id, "body": body}
        return Outcome(self.row.line, status, orjson.dumps(response).decode(), None, usage)
