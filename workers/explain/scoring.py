"""The questions of an explanation in the engine: many at once, each scored once, whatever attempt it was."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from core import telemetry
from core.audits.likelihoods import Cut, encoded, pieces
from core.errors import InvalidInput
from core.events import types
from core.forever import stopped
from core.guard.guard import Guard
from core.jobs import explain
from core.jobs.explain import ExplainSpec
from core.studies import cases
from core.studies.cases import Case
from core.studies.explained import Aim
from core.studies.explaining import Question, Scored
from workers.answering.likely import likelihoods, shown
from workers.context import Attempt
from workers.engine import Likely, Request
from workers.process import InferenceWorker

# What is scored waits so long for others to be told with it.
TELL_S = 0.25
ALTERNATIVES = 5


class _Told(NamedTuple):
    """`logprobs`: of the target's tokens; `tops`: the likeliest in the place of each; what that took."""

    logprobs: list[float]
    tops: list[Any]
    tokens: int
    seconds: float


def _nothing() -> None:
    return None


class Scoring:
    """Of one attempt, on top of what earlier ones told. `tops`: for some questions, of each token of the target the
    likeliest tokens in its place, as [text, log probability]. `guard`: what the model says of itself is held against
    it; None: nothing is held back."""

    def __init__(
        self, worker: InferenceWorker, attempt: Attempt, guard: Guard | None = None
    ) -> None:
        self._worker, self._attempt, self._guard = worker, attempt, guard
        before = attempt.progress() or {}
        self.scores = {key: Scored(*one) for key, one in before.get("scores", {}).items()}
        self.tops: dict[str, Any] = dict(before.get("tops", {}))
        self._target: list[int] | None = before.get("tokens")
        took = before.get("took", {})
        self._prompt_tokens = int(took.get("prompt_tokens", 0))
        self._engine_s = float(took.get("engine_seconds", 0.0))
        # Told with the scores it bought, by which alone it counts: what was in flight when a worker died is asked
        # again and paid once.
        attempt.took = _nothing
        self._phase, self._done, self._total = "", 0, 0
        self._untold: dict[str, Any] = {}
        self._untold_tops: dict[str, Any] = {}
        self._told_at = 0.0

    def usage(self) -> dict[str, Any]:
        return explain.usage({"took": self._took(), "tokens": self._target or []})

    def phase(self, name: str, total: int = 0, **more: Any) -> None:
        self._phase, self._done, self._total = name, 0, total
        self._tell(**more)

    async def written(self, case: Case, spec: ExplainSpec) -> Aim:
        """The model's own answer, likeliest token by token. Raises InvalidInput when it says nothing."""
        text = self._worker.text
        if self._target is None:
            prompt = encoded(text, case.prompt(text, case.texts))
            cases.check_length(prompt, spec.answer_tokens, self._worker.model.context)
            tokens: list[int] = []
            began = time.monotonic()
            request = Request(
                id=self._id("target"), prompt=prompt, max_tokens=spec.answer_tokens,
                scope=self._attempt.claim.tenant_id, adapter=self._attempt.claim.adapter,
            )  # fmt: skip
            async with contextlib.aclosing(self._worker.engine.generate(request)) as stream:
                async for chunk in stream:
                    self._alive()
                    tokens += chunk.tokens
            self._count(len(prompt), time.monotonic() - began)
            self._target = [token for token in tokens if token not in text.special]
        # A token may be the half of a character, which nobody can ask for.
        said = b"".join(text.piece(one) for one in self._target).decode(errors="ignore")
        if not said:
            raise InvalidInput(
                "The model answers this prompt with nothing; give a target", param="target"
            )
        if self._hides(said):
            raise InvalidInput(
                "The model's own answer holds what your guard lets nobody hear; give a target",
                param="target",
            )
        self.phase("target", target=said, tokens=self._target)
        return Aim(said, spec.contrast, "greedy")

    async def score(
        self, case: Case, aim: Aim, questions: Sequence[Question], *, alternatives: bool = False
    ) -> None:
        """Every question that has no score yet, as many at once as seats allow. Raises InvalidInput."""
        # The whole prompt first: the others are shorter, and some would be asked in vain.
        await asyncio.to_thread(self._cut, case.prompt(self._worker.text, case.texts), aim.text)
        left = [one for one in questions if one.key not in self.scores]
        self.phase("check" if not alternatives else "score", len(questions), target=aim.text)
        self._done = len(questions) - len(left)
        tasks = [asyncio.create_task(self._one(case, aim, one, alternatives)) for one in left]
        try:
            for done in asyncio.as_completed(tasks):
                await done
        finally:
            await stopped(tasks)
            self._tell()

    async def _one(self, case: Case, aim: Aim, question: Question, alternatives: bool) -> None:
        prompt = await asyncio.to_thread(case.prompt, self._worker.text, question.texts)
        top = alternatives and (question.key == "original" or question.key.startswith("swap."))
        target = await self._told(question.key, prompt, aim.text)
        contrast = None
        if aim.contrast is not None:
            contrast = await self._told(f"{question.key}-contrast", prompt, aim.contrast)
        for told in (target, contrast):
            if told is not None:
                self._count(told.tokens, told.seconds)
        both = (target.logprobs, None if contrast is None else contrast.logprobs)
        self.scores[question.key], self._untold[question.key] = Scored(*both), both
        if top:
            self.tops[question.key] = self._untold_tops[question.key] = target.tops
        self._done += 1
        if time.monotonic() - self._told_at >= TELL_S:
            self._tell()

    async def _told(self, key: str, prompt: str, target: str) -> _Told:
        """Of a target behind a prompt. Raises InvalidInput where the engine tells nothing."""
        worker, claim = self._worker, self._attempt.claim
        cut = await asyncio.to_thread(self._cut, prompt, target)

        async def ask() -> tuple[list[Likely | None], float]:
            began = time.monotonic()
            request = Request(
                id=self._id(key), prompt=cut.given + cut.scored, max_tokens=1,
                prompt_logprobs=ALTERNATIVES, scored_from=len(cut.given), scope=claim.tenant_id,
                adapter=claim.adapter, mute=True,
            )  # fmt: skip
            found = await likelihoods(worker.engine, request, self._alive)
            return found, time.monotonic() - began

        # Somebody who waits for an answer goes first, as before the lines of a batch.
        likely, seconds = await worker.seats.run(ask)
        scored = [one for one in likely[len(cut.given) :] if one is not None]
        if len(scored) != len(cut.scored):
            raise InvalidInput(
                "The engine tells no likelihoods of this prompt; it cannot be explained"
            )
        tops = [self._tops(one) for one in scored]
        logprobs = [one.logprob for one in scored]
        return _Told(logprobs, tops, len(cut.given) + len(cut.scored), seconds)

    def _tops(self, likely: Likely) -> list[list[Any]]:
        """What else the model might have said in a token's place, but for what must not be said."""
        said = shown(self._worker.text, likely)["top"]
        return [[one["token"], one["logprob"]] for one in said if not self._hides(one["token"])]

    def _hides(self, said: str) -> bool:
        return self._guard is not None and self._guard.scanner.hides("", said)

    def _cut(self, prompt: str, target: str) -> Cut:
        cut = pieces(self._worker.text, prompt, target)
        cases.check_length(cut.given, len(cut.scored), self._worker.model.context)
        return cut

    def _id(self, key: str) -> str:
        """Unlike every other attempt's and every other try's, since an engine may still hold what was stopped."""
        claim = self._attempt.claim
        return f"{claim.id}-{claim.attempt}-{key}-{time.monotonic_ns()}"

    def _count(self, tokens: int, seconds: float) -> None:
        self._prompt_tokens += tokens
        self._engine_s += seconds
        telemetry.TOKENS.labels(self._worker.model.name, "in").inc(tokens)

    def _took(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "cached_tokens": 0,
            "engine_seconds": round(self._engine_s, 4),
        }

    def _alive(self) -> None:
        self._attempt.last_progress = time.monotonic()

    def _tell(self, **more: Any) -> None:
        """Where it stands and what is new: the next attempt asks none of it again."""
        data = {
            "phase": self._phase,
            "done": self._done,
            "total": self._total,
            "took": self._took(),
        }
        if self._untold:
            data |= {"scores": self._untold, "tops": self._untold_tops}
        self._attempt.tell(types.PROGRESS, data | more)
        self._untold, self._untold_tops = {}, {}
        self._told_at = time.monotonic()
