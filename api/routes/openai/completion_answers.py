"""Text completions as OpenAI's clients read them: whole, or chunk by chunk; several prompts as one answer."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from api.routes.openai import answers
from api.routes.openai.answers import ALIVE, DONE, frame
from api.routes.openai.road import End, Errand, Piece, follow_all
from core.events import types
from core.jobs.job import Job
from core.openai import completion_answers as made
from core.openai.answers import choices, failure, usage
from core.openai.completion_answers import Echo


def whole(errand: Errand, jobs: list[Job], echoes: list[Echo]) -> dict[str, Any]:
    """The text_completion of jobs that succeeded."""
    head = answers.head(errand, "cmpl", "text_completion")
    results = [job.result or {} for job in jobs]
    return made.whole(head, results, [job.usage for job in jobs], echoes)


@dataclass
class _Page:
    """The chunks of one stream, which know how far each choice's text has come."""

    head: dict[str, Any]
    n: int
    echoes: list[Echo]
    padded: bool
    lengths: dict[int, int] = field(default_factory=dict)

    def _chunk(self, at: int, text: str, told: Any = None, finish: str | None = None) -> bytes:
        self.lengths[at] = self.lengths.get(at, 0) + len(text)
        choice = {"index": at, "text": text, "logprobs": told, "finish_reason": finish}
        return answers.delta(self.head, choice, padded=self.padded)

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
        for ended in choices(one.data["result"]):
            told = self.echoes[one.job].logprobs([], scored, 0) if scored else None
            yield self._chunk(one.job * self.n + ended["index"], "", told, ended["finish_reason"])


async def chunks(
    errand: Errand, n: int, echoes: list[Echo], *, include_usage: bool, padded: bool
) -> AsyncIterator[bytes]:
    """text_completion chunks of all the jobs as they are made, then [DONE]; an error ends them instead.

    With echo and logprobs the prompt's probabilities come with a choice's last chunk: sooner they are not known.
    """
    head = answers.head(errand, "cmpl", "text_completion")
    page = _Page(head | ({"usage": None} if include_usage else {}), n, echoes, padded)
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
                yield frame({"error": failure(job_id, state, one.data.get("error"))})
                return
            else:
                used.append(one.data.get("usage") or {})
                for last in page.last(one):
                    yield last
    if include_usage:
        yield frame({**head, "choices": [], "usage": usage(*used)})
    yield DONE
