"""The classifier's word on finished sentences, within its time; what is done when it has none."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from core.classifiers.classifier import Classifier
from core.guard.folding import seen
from core.guard.guard import Guard
from core.guard.passage import Stretch
from core.guard.spans import Act, Span, merged

log = structlog.get_logger(__name__)

# A sentence that was not judged in time.
UNCHECKED, PASSED = "unchecked", "passed"
Looks = Callable[[Sequence[str]], Awaitable[Sequence[bool]]]


@dataclass
class Judging:
    """`looks`: which sentences the classifier is shown (core/guard/routing.py); None: all."""

    guard: Guard
    classifier: Classifier
    looks: Looks | None = None

    async def judged(self, sentences: Sequence[Stretch]) -> list[Stretch]:
        """The stretches with what the classifier found in them, each as a whole."""
        texts = [seen(one.raw).text.strip() for one in sentences]
        asked = [i for i, text in enumerate(texts) if text]
        wish = self.guard.settings.classifier
        assert wish is not None
        try:
            async with asyncio.timeout(wish.budget_ms / 1000):
                asked = await self._shown(texts, asked)
                scores = (
                    await asyncio.to_thread(self.classifier.scores, [texts[i] for i in asked])
                    if asked
                    else []
                )
        except Exception as error:  # whatever it is, the sentence was not judged
            log.warning("sentences were not judged", error=repr(error), then=wish.on_failure)
            return [
                self._unchecked(one, closed=wish.on_failure == "fail_closed") for one in sentences
            ]
        found = dict(zip(asked, scores, strict=True))
        return [self._with(one, found.get(i, {})) for i, one in enumerate(sentences)]

    async def _shown(self, texts: Sequence[str], asked: list[int]) -> list[int]:
        if self.looks is None or not asked:
            return asked
        shown = await self.looks([texts[i] for i in asked])
        return [i for i, look in zip(asked, shown, strict=True) if look]

    def _with(self, sentence: Stretch, scores: dict[str, float]) -> Stretch:
        wish = self.guard.settings.classifier
        assert wish is not None
        for category, least in wish.categories.items():
            if scores.get(category, 0.0) >= (1.0 if least is None else least):
                # Of a classifier whose precision is known the tenant says itself what it is worth.
                sentence = self._marked(
                    sentence, category, self.guard.act(category, default="observe")
                )
        return sentence

    def _unchecked(self, sentence: Stretch, *, closed: bool) -> Stretch:
        if closed and self.guard.enforces:
            return self._marked(sentence, UNCHECKED, self.guard.act(UNCHECKED))
        noted = Span(0, len(sentence.raw), Act("observe", ""), ((UNCHECKED, "observe"),))
        return replace(sentence, seen=(*sentence.seen, noted))

    def _marked(self, sentence: Stretch, category: str, act: Act | None) -> Stretch:
        if act is None:
            return sentence
        # The blanks behind a sentence are nobody's.
        span = Span(0, len(sentence.raw.rstrip()), act, ((category, act.action),))
        if act.action == "observe":
            return replace(sentence, seen=(*sentence.seen, span))
        return replace(sentence, spans=tuple(merged([*sentence.spans, span])))
