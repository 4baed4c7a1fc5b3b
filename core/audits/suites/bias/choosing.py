"""Which of several answers a model finds likeliest, and what a known responder's answer looks like."""

import hashlib
import math
from collections.abc import Sequence

from core.audits.asking import Answer, Item, Likelihood, Score, Write


def readable(answer: Answer, continuations: int) -> tuple[Likelihood, ...] | None:
    """One finite likelihood for each continuation, or None: an engine that gave fewer has told nothing."""
    given = answer.likelihoods
    if len(given) != continuations:
        return None
    fit = all(math.isfinite(one.logprob) and one.logprob <= 0 and one.tokens > 0 for one in given)
    return given if fit else None


def highest(values: Sequence[float]) -> int | None:
    """The place of the one highest value; None where two share it: the first would win by its place alone."""
    best = max(values)
    return values.index(best) if values.count(best) == 1 else None


def per_byte(likelihoods: Sequence[Likelihood]) -> list[float]:
    """Nats per UTF-8 byte, so that a longer answer does not lose by its length (lm-eval's acc_bytes)."""
    return [one.logprob / max(one.bytes, 1) for one in likelihoods]


def picks(item: Item, index: int) -> Answer:
    """The answer of a responder that chooses `index`: likeliest of the continuations, or the words of
    `item.data["choices"]`."""
    match item.ask:
        case Score(continuations=several):
            return ranks([float(place == index) for place in range(len(several))])
        case Write(n=draws):
            return says(item.data["choices"][index], draws)
        case other:
            raise AssertionError(f"no choice is made by {type(other).__name__}")


def ranks(scores: Sequence[float]) -> Answer:
    """Likelihoods of one token and one byte each, in nats `scores` below the highest of them and one nat."""
    top = max(scores) + 1.0
    return Answer(likelihoods=tuple(Likelihood(score - top, 1, 1) for score in scores))


def says(text: str, draws: int = 1) -> Answer:
    return Answer(texts=(text,) * draws, finish=("stop",) * draws)


def unreadable(item: Item) -> Answer:
    """What cannot be read: no likelihoods, or words that name no answer."""
    return says("...", item.ask.n) if isinstance(item.ask, Write) else Answer()


def coin(item: Item, sides: int) -> int:
    """A toss of its own for each item, the same in every run."""
    return int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:8]) % sides
