"""Responders whose accuracy on given items is known: reckoned from the right answers alone."""

import hashlib
from collections.abc import Callable, Sequence

from core.audits.asking import Answer, Item, Score, Write
from core.audits.suite import Control
from core.audits.suites import scoring
from core.audits.suites.quality import choosing

NOTHING = Answer()


def of(items: list[Item], *, by_likelihood: Sequence[str]) -> tuple[Control, ...]:
    """`by_likelihood`: the metrics that are of items with likelihoods alone."""
    scored = [item for item in items if isinstance(item.ask, Score)]

    def known(rate: float | None, of_choices: float | None) -> dict[str, float | None]:
        return {"accuracy.exact": rate} | dict.fromkeys(by_likelihood, of_choices)

    chosen = bool(scored) or None
    made = [
        Control(name="always_right", answer=right, expected=known(1.0, chosen and 1.0)),
        Control(name="always_wrong", answer=wrong, expected=known(0.0, chosen and 0.0)),
        Control(
            name="silent", answer=lambda _: NOTHING, expected=known(None, None), valid_rate=0.0
        ),
    ]
    if items and len(scored) == len(items):
        made += [
            _choosing(items, "always_first", lambda _: 0, known),
            _choosing(items, "coin", coin, known),
        ]
        # What a server answers that takes no echo: every choice as likely as the next.
        made.append(
            Control(name="all_alike", answer=alike, expected=known(None, None), valid_rate=0.0)
        )
    return tuple(made)


def _choosing(
    items: list[Item],
    name: str,
    place: Callable[[Item], int],
    known: Callable[[float, float], dict[str, float | None]],
) -> Control:
    hits = sum(1 for item in items if item.data["gold"] == place(item))
    return Control(
        name=name,
        answer=lambda item: choosing.picking(place(item), item.data["choices"]),
        expected=known(hits / len(items), hits / len(items)),
    )


def right(item: Item) -> Answer:
    if isinstance(item.ask, Score):
        return choosing.picking(item.data["gold"], item.data["choices"])
    return said(item, item.data["example"])


def wrong(item: Item) -> Answer:
    if isinstance(item.ask, Score):
        choices = item.data["choices"]
        return choosing.picking((item.data["gold"] + 1) % len(choices), choices)
    return said(item, scoring.wrong(scoring.expected(item.data)))


def alike(item: Item) -> Answer:
    return choosing.of([0.0] * len(item.data["choices"]), item.data["choices"])


def coin(item: Item) -> int:
    """A toss of its own for each item, the same in every run."""
    return int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:8]) % len(item.data["choices"])


def said(item: Item, text: str) -> Answer:
    draws = item.ask.n if isinstance(item.ask, Write) else 1
    return Answer(texts=(text,) * draws, finish=("stop",) * draws)
