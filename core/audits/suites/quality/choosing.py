"""Which of several choices a model finds likeliest, in lm-eval's three ways, and how sure it is of each."""

import math
from collections.abc import Sequence

from core.audits.asking import Answer, Likelihood


def readable(answer: Answer, choices: int) -> tuple[Likelihood, ...] | None:
    """A finite likelihood for each choice, or None. All alike is none either: a server that scores nothing gives each
    choice the same number, which would pass for chance."""
    given = answer.likelihoods
    if len(given) != choices or any(one.tokens < 1 or not _fit(one.logprob) for one in given):
        return None
    return given if len({one.logprob for one in given}) > 1 else None


def likeliest(likelihoods: Sequence[Likelihood]) -> int:
    """The first of the highest, as lm-eval takes it."""
    return _highest([one.logprob for one in likelihoods])


def likeliest_by(likelihoods: Sequence[Likelihood], lengths: Sequence[int]) -> int:
    """The same of log likelihoods divided by lengths, so that a long choice does not lose by being long."""
    return _highest(
        [one.logprob / length for one, length in zip(likelihoods, lengths, strict=True)]
    )


def shares(likelihoods: Sequence[Likelihood]) -> list[float]:
    """Softmax of the log likelihoods: how the model's belief is shared among the choices."""
    top = max(one.logprob for one in likelihoods)
    each = [math.exp(one.logprob - top) for one in likelihoods]
    return [one / math.fsum(each) for one in each]


def of(logprobs: Sequence[float], choices: Sequence[str]) -> Answer:
    """What a responder with these log likelihoods answers."""
    return Answer(
        likelihoods=tuple(
            Likelihood(logprob, tokens=1, bytes=len(one.encode()))
            for logprob, one in zip(logprobs, choices, strict=True)
        )
    )


def picking(place: int, choices: Sequence[str]) -> Answer:
    """A responder's that is sure of one choice, by any of the three ways: others have 100 nats for each character."""
    return of(
        [-0.01 if k == place else -100.0 * len(one) for k, one in enumerate(choices)], choices
    )


def _highest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _fit(logprob: float) -> bool:
    return math.isfinite(logprob) and logprob <= 0
