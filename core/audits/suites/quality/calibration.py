"""Does a model know how sure it may be: the likelihoods of choices as confidence, held against what was right.

The confidence of an answer is its share of the choices' likelihoods (softmax). Expected calibration error: ten bins of
equal width, (0, 0.1] to (0.9, 1].
"""

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from core.audits.asking import Answer, Item, Likelihood
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites.packs import DATA
from core.audits.suites.quality import accuracy, choosing, figures
from core.audits.suites.quality.accuracy import SLOT, AccuracyOptions
from core.measures import calibration
from core.measures.rows import Row

NAMES = tuple(metric.name for metric in (*calibration.METRICS, figures.BRIER))
# How sure the controls that are not certain are.
PART = 0.75


class CalibrationOptions(Options):
    """`per`: what log likelihoods are divided by before they become shares."""

    prompt: str = Field(SLOT, max_length=20_000)
    delimiter: str = Field(" ", max_length=20)
    per: Literal["choice", "character", "byte"] = "choice"


def items(files: Files, options: CalibrationOptions) -> Iterator[Item]:
    asked = AccuracyOptions(mode="likelihood", prompt=options.prompt, delimiter=options.delimiter)
    for item in accuracy.items(files, asked):
        item.data["per"] = options.per
        yield item


def score(item: Item, answer: Answer) -> Row:
    counts = _counts(item, answer)
    return Row(item.id, item.cluster, valid=bool(counts), counts=counts, groups=item.groups)


def _counts(item: Item, answer: Answer) -> dict[str, float]:
    choices, gold = item.data["choices"], item.data["gold"]
    given = choosing.readable(answer, len(choices))
    if given is None:
        return {}
    shares = choosing.shares(
        [
            Likelihood(one.logprob / _length(choice, item.data["per"]), one.tokens, one.bytes)
            for one, choice in zip(given, choices, strict=True)
        ]
    )
    place = shares.index(max(shares))
    missed = sum((share - (k == gold)) ** 2 for k, share in enumerate(shares))
    return calibration.counts(confidence=shares[place], correct=place == gold) | {
        "brier_all": missed
    }


def _length(choice: str, per: str) -> int:
    return {"character": len(choice), "byte": len(choice.encode())}.get(per, 1)


def controls(items: list[Item]) -> tuple[Control, ...]:
    places = {item.id: place for place, item in enumerate(items)}
    # Every fourth answer wrong, at a confidence of three quarters: right as often as it says, to the last item.
    hits = sum(1 for place in places.values() if place % 4 != 3)
    missed, rate = [_missed(item, places[item.id] % 4 != 3) for item in items], hits / len(items)
    return (
        Control(
            name="sure_and_right", answer=lambda item: _sure(item, 0), expected=_known(0, 0, 0, 0)
        ),
        Control(
            name="sure_and_wrong", answer=lambda item: _sure(item, 1), expected=_known(1, 1, 1, 2)
        ),
        Control(
            name="knows_its_odds",
            answer=lambda item: _unsure(item, int(places[item.id] % 4 == 3)),
            expected=_known(
                abs(rate - PART),
                rate * (1 - PART) ** 2 + (1 - rate) * PART**2,
                PART - rate,
                sum(missed) / len(items),
            ),
        ),
        Control(
            name="silent", answer=lambda _: Answer(), expected=dict.fromkeys(NAMES), valid_rate=0.0
        ),
        Control(
            name="all_alike",
            answer=lambda item: choosing.of(
                [0.0] * len(item.data["choices"]), item.data["choices"]
            ),
            expected=dict.fromkeys(NAMES),
            valid_rate=0.0,
        ),
    )


def _known(ece: float, brier: float, over: float, brier_all: float) -> dict[str, float | None]:
    return dict(zip(NAMES, (ece, brier, over, brier_all), strict=True))


def _missed(item: Item, right: bool) -> float:
    """Of shares PART and equal parts of the rest: the sum of squares that Brier's score takes."""
    rest = (1 - PART) / (len(item.data["choices"]) - 1)
    others = len(item.data["choices"]) - 2
    if right:
        return (PART - 1) ** 2 + (others + 1) * rest**2
    return PART**2 + (rest - 1) ** 2 + others * rest**2


def _sure(item: Item, off: int) -> Answer:
    choices = item.data["choices"]
    return choosing.picking((item.data["gold"] + off) % len(choices), choices)


def _unsure(item: Item, off: int) -> Answer:
    """Whatever likelihoods are divided by, the shares are PART and equal parts of the rest."""
    choices = item.data["choices"]
    chosen = (item.data["gold"] + off) % len(choices)
    rest = (1 - PART) / (len(choices) - 1)
    return choosing.of(
        [
            math.log(PART if k == chosen else rest) * _length(one, item.data["per"])
            for k, one in enumerate(choices)
        ],
        choices,
    )


CALIBRATION = Suite(
    name="calibration",
    version="1",
    family="quality",
    title="Calibration",
    about="Whether a model is right as often as its likelihoods say, over multiple-choice questions.",
    source="Guo et al. 2017 (expected calibration error, ten bins of equal width); Brier 1950",
    licence="own pack: this project's; a file of yours: yours",
    metrics=(*calibration.METRICS, figures.BRIER),
    items=items,
    score=score,
    controls=controls,
    limits=(
        "Confidence is that of the likelihoods, not of the words that a model uses about itself.",
        "The expected calibration error of few items is above 0 by chance alone.",
        "Other prompts give other confidences.",
    ),
    needs={DATA: False},
    group_by=("category",),
    options=CalibrationOptions,
)
