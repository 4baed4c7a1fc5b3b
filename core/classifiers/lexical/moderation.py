"""penstock-lexical: moderation categories by their OpenAI names, from words alone."""

from pathlib import Path

from core.classifiers.lexical import features, words
from core.classifiers.lexical.linear import Lexical, Vector

NAME = "penstock-lexical@1"
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "illicit",
    "self-harm",
    "sexual",
    "violence",
)
WEIGHTS = Path(__file__).parent / "moderation.json"
CARD = Path(__file__).parent / "moderation_card.json"
# Words of a window: about the longest of the lines that it learnt from. A long harmless text around one threat must
# not thin it out, so longer texts are read in windows that overlap by half.
WINDOW = 40


def vectors(text: str) -> list[Vector]:
    tokens = words.words(text)
    if len(tokens) <= WINDOW:
        return [features.vector(tokens)]
    starts = range(0, len(tokens) - WINDOW // 2, WINDOW // 2)
    return [features.vector(tokens[start : start + WINDOW]) for start in starts]


def load() -> Lexical:
    return Lexical(NAME, WEIGHTS, CARD, vectors)
