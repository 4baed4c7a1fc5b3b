"""A text as a sparse vector: words, neighbours, pieces of words, and which classes of words follow each other."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.classifiers.lexical import words

Indices = NDArray[np.int64]
Values = NDArray[np.float64]
# How far apart two words may be whose classes make a pair: "kill" and "neighbour" in "kill that old neighbour".
REACH = 5
# Weights of the kinds of features before the vector is brought to length 1, chosen by cross-validation over the
# training lines: classes carry over to words that no line has, so they count more than pieces, of which there are many.
WORD, NEIGHBOURS, PIECE, CLASS, CLASSES, RULE = 1.0, 0.7, 0.3, 1.5, 1.5, 4.0


def vector(tokens: Sequence[str], rules: Sequence[str] = ()) -> tuple[Indices, Values]:
    """(buckets, values) with each bucket once, of length 1. `rules`: named features that hold for the text."""
    found: dict[int, float] = {}
    for token in tokens:
        found[words.own(token)] = WORD
        for piece in words.pieces(token):
            found.setdefault(piece, PIECE)
    for first, second in pairwise(tokens):
        found[words.pair("next", first, second)] = NEIGHBOURS
    _classes(found, tokens)
    for rule in rules:
        found[words.bucket("rule", rule)] = RULE
    if not found:
        return np.zeros(0, np.int64), np.zeros(0)
    values = np.fromiter(found.values(), np.float64, len(found))
    return np.fromiter(found, np.int64, len(found)), values / np.linalg.norm(values)


def _classes(found: dict[int, float], tokens: Sequence[str]) -> None:
    placed = [(at, name) for at, token in enumerate(tokens) for name in words.classes(token)]
    for number, (at, name) in enumerate(placed):
        found[words.pair("class", name, "")] = CLASS
        for later, other in placed[number + 1 :]:
            if later - at > REACH:
                break
            if later > at:
                found[words.pair("class", name, other)] = CLASSES
