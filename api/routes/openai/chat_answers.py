"""Chat completions as OpenAI's clients read them: whole, or chunk by chunk."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from api.routes.openai import answers
from api.routes.openai.answers import ALIVE, DONE, frame
from api.routes.openai.road import Errand, Piece, follow
from core.events import types
from core.jobs import tools
from core.jobs.job import Job
from core.jobs.kinds import InferenceJob
from core.openai import chat_answers as made
from core.openai import functions, likely
from core.openai.answers import choices, failure, usage
from core.openai.chat_answers import Told


def whole(errand: Errand, job: Job, told: Told) -> dict[str, Any]:
    """The chat.completion of a job that succeeded."""
    head = answers.head(errand, "chatcmpl", "chat.completion")
    return made.whole(head, job.result or {}, job.usage, told)


@dataclass
class _Voice:
    """One answer on its way out. Text that may be a tool call is held back until that is known."""

    use: tools.Choice
    job_id: str
    index: int
    old: bool
    text: str = ""
    sent: int = 0
    called: bool = False
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def opening(self) -> dict[str, Any]:
        return self._delta({"role": "assistant", "content": "", "refusal": None})

    def more(self, piece: Piece) -> Iterator[dict[str, Any]]:
        self.text += piece.text
        self.logprobs += piece.logprobs
        match self.use.kind:
            case "required":
                return
            case "named":
                if not self.called:
                    self.called = True
                    begun = self._call({"name": self.use.name, "arguments": ""})
                    yield self._delta(functions.calls([begun], old=self.old))
                more = {"index": 0, "function": {"arguments": piece.text}}
                yield self._delta(functions.calls([more], old=self.old))
            case "auto":
                free = tools.free(self.text)
                if free > self.sent:
                    said, self.sent = self.text[self.sent : free], free
                    yield self._delta({"content": said})
            case _:
                yield self._delta({"content": piece.text})

    def last(self, one: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What was held back, and why it ended."""
        calls = one.get("tool_calls") or []
        if self.use.kind in ("required", "auto"):
            if calls:
                told = [{"index": i, **c} for i, c in enumerate(calls)]
                yield self._delta(functions.calls(told, old=self.old))
            elif len(self.text) > self.sent:
                yield self._delta({"content": self.text[self.sent :]})
        scored = likely.chat(self.logprobs) if self.logprobs else None
        yield {
            "index": self.index,
            "delta": {},
            "logprobs": scored,
            "finish_reason": functions.finish(one["finish_reason"], old=self.old),
        }

    def _call(self, function: dict[str, Any]) -> dict[str, Any]:
        call_id = tools.call_id(self.job_id, self.index, 0)
        return {"index": 0, "id": call_id, "type": "function", "function": function}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        told, self.logprobs = (likely.chat(self.logprobs) if self.logprobs else None), []
        return {"index": self.index, "delta": delta, "logprobs": told, "finish_reason": None}


async def chunks(
    errand: Errand, spec: InferenceJob, told: Told, *, include_usage: bool, padded: bool
) -> AsyncIterator[bytes]:
    """The chat.completion.chunks of a job while it is made, then [DONE]; an error ends them in its place."""
    job_id = errand.jobs[0].id
    head = {
        **answers.head(errand, "chatcmpl", "chat.completion.chunk"),
        "service_tier": told.tier,
        **({"usage": None} if include_usage else {}),
    }
    voices = [_Voice(spec.tool_use, job_id, index, told.old) for index in range(spec.n)]
    for voice in voices:
        yield frame({**head, "choices": [voice.opening()]})
    async for one in follow(errand, 0):
        if one is None:
            yield ALIVE
        elif isinstance(one, Piece):
            for choice in voices[one.index].more(one):
                yield answers.delta(head, choice, padded=padded)
        elif one.type != types.SUCCEEDED:
            state = one.type.removeprefix("job.")
            yield frame({"error": failure(job_id, state, one.data.get("error"))})
        else:
            for choice in _last(voices, one.data["result"]):
                yield frame({**head, "choices": [choice]})
            if include_usage:
                used = usage(one.data.get("usage"))
                yield frame({**head, "choices": [], "usage": used})
            yield DONE


def _last(voices: list[_Voice], result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for ended in choices(result):
        yield from voices[ended["index"]].last(ended)
