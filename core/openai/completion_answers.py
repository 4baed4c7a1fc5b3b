"""A text completion made of the results of its jobs: one for each prompt."""

from collections.abc import Sequence
from typing import Any

from core.catalog.tokenizer import Text
from core.jobs.kinds import InferenceJob
from core.openai import answers, likely


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


def whole(
    head: dict[str, Any],
    results: Sequence[dict[str, Any]],
    usages: Sequence[dict[str, Any] | None],
    echoes: list[Echo],
) -> dict[str, Any]:
    """The text_completion of jobs that succeeded."""
    choices: list[dict[str, Any]] = []
    for result, echo in zip(results, echoes, strict=True):
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
    return {**head, "choices": choices, "usage": answers.usage(*usages)}
