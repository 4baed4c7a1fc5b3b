"""The seam: what a classifier of text offers, and the card on which its measured precision and recall stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from scipy.special import betaincinv

# Two-sided confidence of every interval on a card.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `of` independent lines, with the exact (Clopper-Pearson) interval; None where `of` is 0."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        return self.hits / self.of if self.of else None

    @property
    def low(self) -> float | None:
        if not self.of:
            return None
        tail = (1 - CONFIDENCE) / 2
        return float(betaincinv(self.hits, self.of - self.hits + 1, tail)) if self.hits else 0.0

    @property
    def high(self) -> float | None:
        if not self.of:
            return None
        tail = (1 + CONFIDENCE) / 2
        missed = self.of - self.hits
        return float(betaincinv(self.hits + 1, missed, tail)) if missed else 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One category at its threshold on held-out lines. Recall is the sensitivity: flagged of those that are."""

    threshold: float
    precision: Share
    recall: Share
    specificity: Share

    @property
    def positives(self) -> int:
        return self.recall.of

    @property
    def negatives(self) -> int:
        return self.specificity.of


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of a classifier: on which labelled lines it was measured, and how well it did.

    `data`: the file of labelled lines; `train`, `test`: how many of them it was made of and measured on; `measured`
    is empty when nobody has measured it, and then rates that it gives cannot be corrected. `limits`: what it is not.
    """

    name: str
    digest: str
    thresholds: Mapping[str, float]
    data: str = ""
    data_digest: str = ""
    train: int = 0
    test: int = 0
    measured: Mapping[str, Measured] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def dump(self) -> dict[str, Any]:
        """JSON: figures as (hits, of), from which value and interval follow."""
        return {
            "name": self.name,
            "digest": self.digest,
            "data": self.data,
            "data_digest": self.data_digest,
            "train": self.train,
            "test": self.test,
            "thresholds": dict(self.thresholds),
            "measured": {
                category: {
                    "threshold": one.threshold,
                    "precision": [one.precision.hits, one.precision.of],
                    "recall": [one.recall.hits, one.recall.of],
                    "specificity": [one.specificity.hits, one.specificity.of],
                }
                for category, one in self.measured.items()
            },
            "limits": list(self.limits),
        }

    @staticmethod
    def load(body: Mapping[str, Any]) -> "Card":
        """From `dump`'s JSON."""
        measured = {
            category: Measured(
                one["threshold"],
                Share(*one["precision"]),
                Share(*one["recall"]),
                Share(*one["specificity"]),
            )
            for category, one in body["measured"].items()
        }
        return Card(**{**body, "measured": measured, "limits": tuple(body["limits"])})


class Classifier(Protocol):
    """Pure and safe to call from several threads.

    `name`: with its version; `digest`: sha256 over all that its scores depend on: another digest is another
    measurement. `scores`: for each text every category, 0..1. A classifier that cannot answer (a dead network, a
    model that is not there) raises Unavailable: a score that stands for an error would read "harmless".
    """

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def categories(self) -> tuple[str, ...]: ...

    @property
    def card(self) -> Card: ...

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]: ...


def flagged(classifier: Classifier, scores: Mapping[str, float]) -> tuple[str, ...]:
    """The categories whose score reaches the card's threshold, in the classifier's order."""
    thresholds = classifier.card.thresholds
    return tuple(
        category
        for category in classifier.categories
        if scores[category] >= thresholds.get(category, 0.5)
    )
