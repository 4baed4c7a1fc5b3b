"""A response as OpenAI's clients read it: the job's state and output, and the request it came from."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from api.deps import Parts
from api.routes.openai import response_output
from api.routes.openai.answers import ALIVE
from api.routes.openai.response_script import Event as Numbered
from api.routes.openai.response_script import Script
from core.events import types
from core.events.types import Event
from core.jobs.job import TERMINAL, Job, State
from core.jobs.responses import response_id
from core.openai import answers

_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
    State.EXPIRED: "failed",
}
# Fields of the request that the response repeats, and what stands for one that was not sent.
_REPEATED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "previous_response_id": None,
    "prompt_cache_key": None, "prompt_cache_retention": None, "safety_identifier": None, "user": None,
    "temperature": 1.0, "top_p": 1.0, "top_logprobs": 0, "tool_choice": "auto", "parallel_tool_calls": True,
    "background": False, "store": True, "truncation": "disabled",
}  # fmt: skip


def status(job: Job) -> str:
    if job.state == State.SUCCEEDED:
        cut = answers.choices(job.result or {})[0]["finish_reason"] == "length"
        return "incomplete" if cut else "completed"
    return _STATUS[State(job.state)]


def whole(job: Job, asked: dict[str, Any]) -> dict[str, Any]:
    """The response object of a job as it stands."""
    told = status(job)
    output = [item.shown(begun=False) for item in response_output.ended(job)]
    if State(job.state) not in TERMINAL:
        output = [item | {"status": "in_progress"} for item in output]
    done = job.finished_at.timestamp() if job.finished_at is not None else None
    return _head(job, asked) | {
        "status": told,
        "completed_at": int(done) if done is not None and told == "completed" else None,
        "error": _error(job),
        "incomplete_details": {"reason": "max_output_tokens"} if told == "incomplete" else None,
        "output": output,
        "usage": None if job.usage is None else usage(job.usage),
    }


def _head(job: Job, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": response_id(job.id),
        "object": "response",
        "created_at": int(job.created_at.timestamp()),
        "model": job.model,
        "metadata": job.labels,
        **{name: asked.get(name, default) for name, default in _REPEATED.items()},
        "tools": [_tool(tool) for tool in asked.get("tools", ())],
        "text": {
            "format": asked.get("text", {}).get("format", {"type": "text"}),
            "verbosity": "medium",
        },
        # There is none of these: said, as OpenAI does, and not left out.
        **dict.fromkeys(("conversation", "prompt", "moderation")),
        "reasoning": {"effort": "none", "summary": None},
        "service_tier": "flex" if job.priority == "batch" else "default",
    }


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {"description": None, "parameters": None, "strict": True, **tool}


def _error(job: Job) -> dict[str, Any] | None:
    if job.state not in (State.FAILED, State.EXPIRED):
        return None
    known = answers.failure(job.id, job.state, job.error)
    # The client's type knows a closed list of codes; ours is in the type, for programs.
    return {
        "code": "server_error",
        "message": known["message"],
        "param": None,
        "type": known["code"],
    }


def usage(used: dict[str, Any]) -> dict[str, Any]:
    total = answers.usage(used)
    return {
        **({"cache": total["cache"]} if "cache" in total else {}),
        "input_tokens": total["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": total["prompt_tokens_details"]["cached_tokens"],
            "cache_write_tokens": 0,
        },
        "output_tokens": total["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total["total_tokens"],
    }


def _early(job: Job, asked: dict[str, Any], told: str) -> dict[str, Any]:
    """The response as it was before anything was said: the same on every replay."""
    nothing: dict[str, Any] = {
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    return _head(job, asked) | {"status": told, **nothing}


def _frame(kind: str, body: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(body))


class Telling:
    """A response's events above a cursor, as SSE messages. A comment stands for a sign of life."""

    def __init__(self, parts: Parts, job: Job, asked: dict[str, Any], after: int = -1) -> None:
        self._parts, self._job, self._asked, self._after = parts, job, asked, after
        self._script = Script(job.id, response_output.choice_of(job))
        self._text = ""

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
        elif event.type == types.SNAPSHOT:
            first = next(iter(body["data"].get("choices") or ()), body["data"])
            self._text = first.get("text", "")
        elif event.terminal:
            return said + await self._ended()
        return said + self._told(self._script.more(self._text))

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
                body["response"] = _early(self._job, self._asked, "queued")
            case "response.in_progress":
                body["response"] = _early(self._job, self._asked, "in_progress")
            case "response.completed" | "response.failed" | "response.incomplete":
                body["response"] = ended
        return _frame(kind, body)
