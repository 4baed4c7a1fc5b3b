"""Classifiers for the seam: one that looks for a word, one whose network is dead, and some that are wrong."""

import hashlib
from collections.abc import Sequence

from core.classifiers.classifier import Card
from core.errors import Unavailable

DIGEST = hashlib.sha256(b"the word bad").hexdigest()


class Word:
    """1 where the word "bad" stands."""

    def __init__(
        self, digest: str = DIGEST, card: str = DIGEST, thresholds: tuple[str, ...] = ("toxicity",)
    ) -> None:
        self.name, self.digest, self.categories = "word@1", digest, ("toxicity",)
        self.card = Card(name="word@1", digest=card, thresholds=dict.fromkeys(thresholds, 0.5))

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [{"toxicity": float("bad" in text.split())} for text in texts]


class Unreachable(Word):
    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        raise Unavailable(f"the moderation server does not answer, {len(texts)} texts")


class Silent(Word):
    scores = None  # type: ignore[assignment]


def word() -> Word:
    return Word()


def unreachable() -> Word:
    return Unreachable()


def nothing() -> None:
    return None


def short_digest() -> Word:
    return Word(digest="abc", card="abc")


def no_threshold() -> Word:
    return Word(thresholds=())


def other_card() -> Word:
    return Word(card="0" * 64)


def no_scores() -> Word:
    return Silent()
