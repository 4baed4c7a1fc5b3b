"""Why a model answered so: which edits of a prompt are asked, and what their scores say together.

Score: log probability of the target behind the edited prompt, minus that of the contrast where there is one (nats). The
effect of a span is what taking it away costs the target, compared with the prompt as it is.

Every edit is a prompt of its own (leave-one-out); no gradient, no sampling of coalitions. An effect depends on what
stands in a span's place, so that it is measured twice: deleted, and with "..." there. Swapping a word for its
counterpart needs no such choice: on a model with a planted bias it alone recovered the planted odds.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from core.studies import spans
from core.studies.spans import Span, Texts

# The other baseline: something stands there that says nothing.
ELLIPSIS = "..."
# Random sets that the spans with the largest effects are held against.
DRAWS = 20
# Fewer sets cannot show that one in ten moves the score as much.
ENOUGH = 9
AS_MUCH = 0.1
# Below so many nats (2 %), and below three times what asking twice makes, nothing changed.
NOTHING = 0.02


class Scored(NamedTuple):
    """Log probabilities of the target's tokens, and of the contrast's."""

    target: list[float]
    contrast: list[float] | None = None

    @property
    def score(self) -> float:
        return sum(self.target) - sum(self.contrast or ())


@dataclass(frozen=True, slots=True)
class Question:
    """An edit of the prompt. `key`: what it is, the same in every attempt."""

    key: str
    texts: Texts


@dataclass(frozen=True, slots=True)
class Study:
    """One prompt cut into spans, and the words to swap."""

    texts: Texts
    spans: tuple[Span, ...]
    swaps: tuple[tuple[str, str], ...]
    seed: int

    def first(self) -> list[Question]:
        """The prompt as it is, twice; each span taken away, in two ways; each swap."""
        asked = [Question("original", self.texts), Question("again", self.texts)]
        for number, span in enumerate(self.spans):
            asked.append(Question(f"deleted.{number}", spans.without(self.texts, [span])))
            asked.append(
                Question(f"ellipsis.{number}", spans.without(self.texts, [span], ELLIPSIS))
            )
        for number, pair in enumerate(self.swaps):
            texts = spans.swapped(self.texts, *pair)
            assert texts is not None, "checked before"
            asked.append(Question(f"swap.{number}", texts))
        return asked

    def second(self, scores: Mapping[str, Scored]) -> list[Question]:
        """The spans of the largest effects taken away together, and as many others in their place."""
        top, others = self.sets(self.effects(scores))
        if not others:
            return []
        return [
            Question("top", self._without(top)),
            *(Question(f"others.{k}", self._without(one)) for k, one in enumerate(others)),
        ]

    def effects(self, scores: Mapping[str, Scored], how: str = "deleted") -> list[float]:
        whole = original(scores)
        return [whole - scores[f"{how}.{number}"].score for number in range(len(self.spans))]

    def sets(self, effects: Sequence[float]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """The k spans of the largest effects, and up to DRAWS sets of k without the first of them, all different; none:
        too few spans.

        With it, where one word alone decides, every set that holds the word would move the score as far. One span alone
        cannot be checked so: that it moves the score most is how it was chosen."""
        n = len(effects)
        k = max(2, min(5, n // 5))
        if math.comb(n - 1, k) < ENOUGH:
            return (), []
        order = sorted(range(n), key=lambda number: -abs(effects[number]))
        others = _sets(sorted(order[1:]), k, random.Random(self.seed))  # noqa: S311 - draws of a check, no secret
        return tuple(sorted(order[:k])), others

    def _without(self, numbers: Sequence[int]) -> Texts:
        return spans.without(self.texts, [self.spans[number] for number in numbers])


def _sets(numbers: Sequence[int], k: int, draw: random.Random) -> list[tuple[int, ...]]:
    if math.comb(len(numbers), k) <= 4 * DRAWS:
        every = list(combinations(numbers, k))
        return draw.sample(every, min(DRAWS, len(every)))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < DRAWS:
        found[tuple(sorted(draw.sample(numbers, k)))] = None
    return list(found)


def original(scores: Mapping[str, Scored]) -> float:
    """The mean of both times the prompt was asked as it is."""
    return (scores["original"].score + scores["again"].score) / 2


def noise(scores: Mapping[str, Scored]) -> float:
    """What asking the same twice makes of a score: engines put requests together as they come."""
    return abs(scores["original"].score - scores["again"].score)


def threshold(scores: Mapping[str, Scored]) -> float:
    return max(NOTHING, 3 * noise(scores))


@dataclass(frozen=True, slots=True)
class Faith:
    """Whether taking the top spans away moves the score more than taking others does. `as_much`: the share of sets
    without the strongest span that move it as far; None: it was not asked."""

    reliable: bool | None
    why: str
    top: tuple[int, ...] = ()
    moved: float | None = None
    median: float | None = None
    largest: float | None = None
    draws: int = 0
    as_much: float | None = None


def faith(study: Study, scores: Mapping[str, Scored]) -> Faith:
    effects = study.effects(scores)
    top, others = study.sets(effects)
    if not effects or max(map(abs, effects)) < threshold(scores):
        return Faith(False, "nothing that was taken away changes the answer")
    if not others:
        return Faith(None, f"{len(effects)} spans are too few to check; use a smaller unit")
    whole = original(scores)
    moved = abs(whole - scores["top"].score)
    moves = sorted(abs(whole - scores[f"others.{k}"].score) for k in range(len(others)))
    as_much = sum(move >= moved for move in moves) / len(moves)
    reliable = as_much <= AS_MUCH and moved >= threshold(scores)
    median = moves[len(moves) // 2]
    why = (
        f"taking away the {len(top)} spans of the largest effects moves the score by {moved:.2f}, {len(moves)} sets of "
        f"{len(top)} without the strongest by {median:.2f} (median); {as_much:.0%} of these move it as far"
    )
    return Faith(reliable, why, top, moved, median, moves[-1], len(moves), as_much)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's, of the sizes of effects; None: too few, or all alike."""
    if len(one) < 3:
        return None
    ranks = [_ranks([abs(x) for x in values]) for values in (one, other)]
    middle = (len(one) - 1) / 2
    apart = [[rank - middle for rank in side] for side in ranks]
    size = math.sqrt(math.prod(sum(x * x for x in side) for side in apart))
    return sum(x * y for x, y in zip(*apart, strict=True)) / size if size > 0 else None


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0; those that are alike share their mean."""
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered)))}
    count = {value: ordered.count(value) for value in first}
    return [first[value] + (count[value] - 1) / 2 for value in values]
