"""A response's events as they are made or replayed, in SSE messages above the reader's cursor."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from api.deps import Parts
from api.routes.openai.answers import ALIVE
from api.routes.openai.response_script import Event as Numbered
from api.routes.openai.response_script import Script
from core.events import types
from core.events.types import Event
from core.jobs.job import Job
from core.openai import likely, response_output
from core.openai.padding import obfuscation
from core.openai.response_answers import early, status, whole


def _frame(kind: str, body: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(body))


class Telling:
    """A response's events above a cursor, as SSE messages. A comment stands for a sign of life."""

    def __init__(
        self,
        parts: Parts,
        job: Job,
        asked: dict[str, Any],
        after: int = -1,
        *,
        padded: bool = False,
    ) -> None:
        self._parts, self._job, self._asked, self._after = parts, job, asked, after
        self._padded = padded
        self._script = Script(job.id, response_output.choice_of(job))
        self._text = ""
        self._likely: list[dict[str, Any]] = []

    async def frames(self) -> AsyncIterator[bytes]:
        yield self._told(self._script.accepted())
        hub, alive_s = self._parts.hub, self._parts.settings.sse_keepalive_s
        async for events in hub.follow(self._job.id, 0, alive_s):
            if not events:
                yield ALIVE
            for event in events:
                if said := await self._heard(event):
                    yield said

    async def _heard(self, event: Event) -> bytes:
        body = orjson.loads(event.body)
        said = b""
        # A job that was let go before anything took it was never in progress.
        if body["attempt"] > 0:
            said = self._told(self._script.running())
        if event.type == types.OUTPUT_DELTA:
            self._text += body["data"]["text"]
            self._likely += likely.chat(body["data"].get("logprobs") or [])["content"]
        elif event.type == types.SNAPSHOT:
            first = next(iter(body["data"].get("choices") or ()), body["data"])
            self._text = first.get("text", "")
            self._likely = likely.chat(first.get("logprobs") or [])["content"]
        elif event.terminal:
            return said + await self._ended()
        return said + self._told(self._script.more(self._text, self._likely))

    async def _ended(self) -> bytes:
        async with self._parts.db.single() as session:
            job = await session.get_one(Job, self._job.id)
        told = status(job)
        outcome = told if told in ("completed", "incomplete") else "failed"
        said = self._told(
            self._script.end(response_output.ended(job), outcome), whole(job, self._asked)
        )
        if self._after <= self._script.number:
            return said
        # Faults took back text that this client has seen (docs/decisions/0012): it still hears of the end.
        kind = f"response.{outcome}"
        return _frame(
            kind,
            {"type": kind, "sequence_number": self._after + 1, "response": whole(job, self._asked)},
        )

    def _told(self, events: Iterable[Numbered], ended: dict[str, Any] | None = None) -> bytes:
        return b"".join(
            self._framed(number, kind, data, ended)
            for number, kind, data in events
            if number > self._after
        )

    def _framed(
        self, number: int, kind: str, data: dict[str, Any], ended: dict[str, Any] | None
    ) -> bytes:
        body = {"type": kind, "sequence_number": number, **data}
        match kind:
            case "response.created" | "response.queued":
                body["response"] = early(self._job, self._asked, "queued")
            case "response.in_progress":
                body["response"] = early(self._job, self._asked, "in_progress")
            case "response.completed" | "response.failed" | "response.incomplete":
                body["response"] = ended
        if self._padded and "delta" in data:
            body["obfuscation"] = obfuscation(len(orjson.dumps(body)))
        return _frame(kind, body)
