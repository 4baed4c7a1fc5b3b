"""A text held against a guard, for who wants to see what it does before it does it."""

from collections import Counter
from dataclasses import dataclass

from core.classifiers import listed
from core.guard.correcting import Strings, pieces
from core.guard.guard import compiled
from core.guard.judging import Judging, Looks
from core.guard.settings import GuardSettings


@dataclass(frozen=True, slots=True)
class Tried:
    """`hits`: how often each (category, action) was met. `stopped`: an answer would have ended here."""

    text: str
    stopped: bool
    hits: Counter[tuple[str, str]]


async def tried(
    settings: GuardSettings, text: str, *, json: bool = False, looks: Looks | None = None
) -> Tried:
    """What would have left of `text`, had a model said it; `json`: inside of JSON. `looks`: of a router."""
    guard = compiled(settings)
    if guard is None:
        return Tried(text, False, Counter())
    passage, strings = guard.passage(escaped=json), Strings() if json else None
    stretches = [*passage.feed(text), *passage.finish()]
    if settings.classifier is not None:
        classifier = listed.classifier(settings.classifier.name)
        stretches = await Judging(guard, classifier, looks).all_judged(stretches, escaped=json)
    said: list[str] = []
    hits: Counter[tuple[str, str]] = Counter()
    for stretch in stretches:
        parts = list(pieces(stretch, strings))
        said += (part.text for part in parts)
        spans = {id(part.span): part.span for part in parts if part.span is not None}
        for span in (*spans.values(), *stretch.seen):
            hits.update(span.hits)
        if parts and parts[-1].span is not None and parts[-1].span.act.action == "stop":
            return Tried("".join(said), True, hits)
    return Tried("".join(said), False, hits)
