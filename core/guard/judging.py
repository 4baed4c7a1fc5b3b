"""The classifier's word on finished sentences, within its time; what is done when it has none."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from core import telemetry
from core.classifiers.classifier import Classifier
from core.errors import Unavailable
from core.guard.folding import seen
from core.guard.guard import Guard
from core.guard.passage import Stretch
from core.guard.settings import Judge
from core.guard.spans import Act, Span, merged

log = structlog.get_logger(__name__)

# A sentence that was not judged in time; one that was judged although a router was to decide whether.
UNCHECKED, UNROUTED = "unchecked", "unrouted"
# Of the time for a sentence, what the router may take: the classifier needs the rest.
ROUTING = 0.5
# Sentences that are judged together where all of an answer is there.
AT_ONCE = 4
Looks = Callable[[Sequence[str]], Awaitable[Sequence[bool]]]


@dataclass
class Judging:
    """`looks`: which sentences the classifier is shown (core/guard/routing.py); None: all."""

    guard: Guard
    classifier: Classifier
    looks: Looks | None = None

    @property
    def _wish(self) -> Judge:
        wish = self.guard.settings.classifier
        assert wish is not None
        return wish

    async def judged(self, sentences: Sequence[Stretch], *, escaped: bool = False) -> list[Stretch]:
        """The stretches with what the classifier found in them, each as a whole; `escaped`: they are JSON."""
        texts = [seen(one.raw, escaped=escaped).text.strip() for one in sentences]
        asked = [i for i, text in enumerate(texts) if text]
        unrouted = False
        try:
            async with asyncio.timeout(self._wish.budget_ms / 1000):
                shown, unrouted = await self._routed([texts[i] for i in asked])
                asked = [i for i, look in zip(asked, shown, strict=True) if look]
                told = await self._told([texts[i] for i in asked])
        except Exception as error:  # whatever it is, the sentence was not judged
            then = self._wish.on_failure
            log.warning("sentences were not judged", error=repr(error), then=then)
            return [self._unchecked(one, closed=then == "fail_closed") for one in sentences]
        found = dict(zip(asked, told, strict=True))
        out = [self._with(one, found.get(i, ())) for i, one in enumerate(sentences)]
        return [_noted(one, UNROUTED) for one in out] if unrouted else out

    async def all_judged(
        self, sentences: Sequence[Stretch], *, escaped: bool = False
    ) -> list[Stretch]:
        """`judged` of an answer that is there: a few sentences at a time, each time with the tenant's budget."""
        out: list[Stretch] = []
        for at in range(0, len(sentences), AT_ONCE):
            out += await self.judged(sentences[at : at + AT_ONCE], escaped=escaped)
        return out

    async def _routed(self, texts: Sequence[str]) -> tuple[Sequence[bool], bool]:
        """Which of these are shown, and whether that is all of them for want of a router that works."""
        everything = [True] * len(texts)
        if self.looks is None or not texts:
            return everything, False
        try:
            async with asyncio.timeout(ROUTING * self._wish.budget_ms / 1000):
                shown = [look for _, look in zip(texts, await self.looks(texts), strict=True)]
        except Exception as error:  # whatever it is, nobody decided
            log.warning("sentences were not routed; all are shown", error=repr(error))
            telemetry.GUARD_ROUTED.labels("unrouted").inc(len(texts))
            return everything, True
        for outcome, count in Counter("shown" if look else "spared" for look in shown).items():
            telemetry.GUARD_ROUTED.labels(outcome).inc(count)
        return shown, False

    async def _told(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The categories that each text reaches."""
        if not texts:
            return []
        scores = await asyncio.to_thread(self.classifier.scores, texts)
        if len(scores) != len(texts):
            raise Unavailable(f"{self.classifier.name} gave {len(scores)} scores of {len(texts)}")
        return [self._reached(one) for one in scores]

    def _reached(self, scores: Mapping[str, float]) -> tuple[str, ...]:
        """Raises Unavailable for a score that is missing or no number: neither says "harmless"."""
        reached = []
        for category, least in self._wish.categories.items():
            score = scores.get(category)
            if score is None or score != score:
                raise Unavailable(f"{self.classifier.name} gave no score for {category}")
            if score >= (1.0 if least is None else least):
                reached.append(category)
        return tuple(reached)

    def _with(self, sentence: Stretch, categories: Sequence[str]) -> Stretch:
        for category in categories:
            # Of a classifier whose precision is known the tenant says itself what it is worth.
            sentence = _marked(sentence, category, self.guard.act(category, default="observe"))
        return sentence

    def _unchecked(self, sentence: Stretch, *, closed: bool) -> Stretch:
        if closed and self.guard.enforces:
            return _marked(sentence, UNCHECKED, self.guard.act(UNCHECKED))
        return _noted(sentence, UNCHECKED)


def _noted(sentence: Stretch, category: str) -> Stretch:
    """Counted, and said as it is."""
    span = Span(0, len(sentence.raw), Act("observe", ""), ((category, "observe"),))
    return replace(sentence, seen=(*sentence.seen, span))


def _marked(sentence: Stretch, category: str, act: Act | None) -> Stretch:
    if act is None:
        return sentence
    # The blanks behind a sentence are nobody's.
    span = Span(0, len(sentence.raw.rstrip()), act, ((category, act.action),))
    if act.action == "observe":
        return replace(sentence, seen=(*sentence.seen, span))
    return replace(sentence, spans=tuple(merged([*sentence.spans, span])))
