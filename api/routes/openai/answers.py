"""Answers over HTTP: their heads, the errors of jobs that had none, and streams of chunks."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from fastapi.responses import Response, StreamingResponse
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from api.errors import envelope
from api.routes.jobs import answer
from api.routes.openai import road
from api.routes.openai.road import Errand
from core.jobs.job import Job, State
from core.openai import answers as pure
from core.openai.answers import failure
from core.openai.padding import obfuscation

DONE = b"data: [DONE]\n\n"
ALIVE = b": still here\n\n"
# It ran as often as was sensible already; the same request again would be another job.
FINAL = {"x-should-retry": "false"}


def head(errand: Errand, prefix: str, kind: str) -> dict[str, Any]:
    """The fields that every object and every chunk of an errand begin with."""
    first = errand.jobs[0]
    return pure.head(first.id, first.created_at, errand.model, prefix, kind)


def failed(job: Job) -> Response:
    """The answer for a request one of whose jobs ended without a result."""
    error = failure(job.id, job.state, job.error)
    status = 500 if job.state == State.FAILED else 409
    headers = FINAL | {"x-penstock-job": job.id}
    return envelope(status, error["message"], error["type"], code=error["code"], headers=headers)


def too_late(errand: Errand) -> Response:
    """The jobs go on; a client that said how often it tried gets the same ones when it tries again."""
    names = ", ".join(job.id for job in errand.jobs)
    return envelope(
        504,
        f"No answer within {errand.parts.settings.generate_timeout_s:g} s. The job goes on: "
        f"GET /v1/jobs/{errand.jobs[0].id}. Jobs: {names}",
        "server_error",
        code="timeout",
        headers=errand.headers,
    )


async def once(
    errand: Errand, request: Request, made: Callable[[list[Job]], dict[str, Any]]
) -> Response:
    """What a client that waits is told: what is `made` of its jobs, or why there is nothing."""
    try:
        jobs = await road.ended(errand, request)
    except TimeoutError:
        return too_late(errand)
    if jobs is None:
        return Response(status_code=499)
    if wrong := next((job for job in jobs if job.state != State.SUCCEEDED), None):
        return failed(wrong)
    return answer(made(jobs), 200, errand.headers)


def frame(body: dict[str, Any]) -> bytes:
    """One SSE message. No id: line: OpenAI's decoder keeps it, and fails on the next comment."""
    return b"data: %s\n\n" % orjson.dumps(body)


def delta(head: dict[str, Any], choice: dict[str, Any], *, padded: bool) -> bytes:
    """A chunk of one choice; `padded` to a size that says little of its text."""
    body = {**head, "choices": [choice]}
    return frame(body | {"obfuscation": obfuscation(len(orjson.dumps(choice)))} if padded else body)


class Chunks(StreamingResponse):
    """A stream that gives its seat back, and lets its jobs go when the client leaves before the end."""

    def __init__(
        self, errand: Errand, leave: Callable[[], None], frames: AsyncIterator[bytes]
    ) -> None:
        super().__init__(
            self._told(frames),
            media_type="text/event-stream",
            # Proxies must neither store a stream nor hold it back.
            headers={"cache-control": "no-cache", "x-accel-buffering": "no", **errand.headers},
        )
        self._errand, self._leave = errand, leave
        self._whole = self._gone = False

    async def _told(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for one in frames:
            yield one
        self._whole = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server that stops cancels us too; only a client that left lets its jobs go.
        async def hear() -> Message:
            message = await receive()
            self._gone |= message["type"] == "http.disconnect"
            return message

        async def speak(message: Message) -> None:
            try:
                await send(message)
            except OSError:
                self._gone = True
                raise

        try:
            await super().__call__(scope, hear, speak)
        finally:
            self._leave()
            if self._gone and not self._whole:
                road.let_go(self._errand)
