"""Text completions as OpenAI's clients read them: whole, or chunk by chunk; several prompts as one answer."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from api.routes.openai import answers, likely
from api.routes.openai.answers import ALIVE, DONE, frame
from api.routes.openai.road import End, Errand, Piece, follow_all
from core.catalog.tokenizer import Text
from core.events import types
from core.jobs.job import Job
from core.jobs.kinds import InferenceJob


class Echo:
    """A prompt as it stands before its answer: its text, and the probabilities of its tokens."""

    def __init__(self, text: Text, spec: InferenceJob, *, echoed: bool) -> None:
        self._text, self._echoed = text, echoed
        self._prompt = spec.prompt or ""
        self.asked = spec.logprobs is not None
        self.text = ""
        if echoed:
            given = self._prompt
            self.text = given if isinstance(given, str) else text.decode(given)

    def logprobs(
        self, said: list[dict[str, Any]], scored: list[dict[str, Any] | None] | None, offset: int
    ) -> dict[str, Any] | None:
        """Of what was said, behind those of the prompt when it is echoed with them."""
        if not self.asked:
            return None
        first = [] if not (self._echoed and scored) else scored
        return likely.completion([*first, *said], self._first_word() if first else [], offset)

    def _first_word(self) -> list[str]:
        ids = self._text.encode(self._prompt) if isinstance(self._prompt, str) else self._prompt
        return [self._text.piece(ids[0]).decode(errors="replace")]


def whole(errand: Errand, jobs: list[Job], echoes: list[Echo]) -> dict[str, Any]:
    """The text_completion of jobs that succeeded."""
    choices: list[dict[str, Any]] = []
    for job, echo in zip(jobs, echoes, strict=True):
        result = job.result or {}
        for one in answers.choices(result):
            scored = result.get("prompt_logprobs")
            told = echo.logprobs(one.get("logprobs", []), scored, 0)
            choices.append(
                {
                    "index": len(choices),
                    "text": echo.text + one["text"],
                    "logprobs": told,
                    "finish_reason": one["finish_reason"],
                }
            )
    return {
        **answers.head(errand, "cmpl", "text_completion"),
        "choices": choices,
        "usage": answers.usage(*(job.usage for job in jobs)),
    }


@dataclass
class _Page:
    """The chunks of one stream, which know how far each choice's text has come."""

    head: dict[str, Any]
    n: int
    echoes: list[Echo]
    lengths: dict[int, int] = field(default_factory=dict)

    def _chunk(self, at: int, text: str, told: Any = None, finish: str | None = None) -> bytes:
        self.lengths[at] = self.lengths.get(at, 0) + len(text)
        choice = {"index": at, "text": text, "logprobs": told, "finish_reason": finish}
        return frame({**self.head, "choices": [choice]})

    def opening(self) -> Iterator[bytes]:
        for at in range(len(self.echoes) * self.n):
            if text := self.echoes[at // self.n].text:
                yield self._chunk(at, text)

    def piece(self, one: Piece) -> bytes:
        at = one.job * self.n + one.index
        told = self.echoes[one.job].logprobs(one.logprobs, None, self.lengths.get(at, 0))
        return self._chunk(at, one.text, told)

    def last(self, one: End) -> Iterator[bytes]:
        scored = one.data["result"].get("prompt_logprobs")
        for ended in answers.choices(one.data["result"]):
            told = self.echoes[one.job].logprobs([], scored, 0) if scored else None
            yield self._chunk(one.job * self.n + ended["index"], "", told, ended["finish_reason"])


async def chunks(
    errand: Errand, n: int, echoes: list[Echo], *, include_usage: bool
) -> AsyncIterator[bytes]:
    """text_completion chunks of all the jobs as they are made, then [DONE]; an error ends them instead.

    With echo and logprobs the prompt's probabilities come with a choice's last chunk: sooner they are not known.
    """
    head = answers.head(errand, "cmpl", "text_completion")
    page = _Page(head | ({"usage": None} if include_usage else {}), n, echoes)
    used: list[dict[str, Any]] = []
    for first in page.opening():
        yield first
    async with aclosing(follow_all(errand)) as events:  # type: ignore[type-var]  # an async generator
        async for one in events:
            if one is None:
                yield ALIVE
            elif isinstance(one, Piece):
                yield page.piece(one)
            elif one.type != types.SUCCEEDED:
                job_id, state = errand.jobs[one.job].id, one.type.removeprefix("job.")
                yield frame({"error": answers.failure(job_id, state, one.data.get("error"))})
                return
            else:
                used.append(one.data.get("usage") or {})
                for last in page.last(one):
                    yield last
    if include_usage:
        yield frame({**head, "choices": [], "usage": answers.usage(*used)})
    yield DONE
