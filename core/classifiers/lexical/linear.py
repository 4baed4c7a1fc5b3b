"""A linear classifier in one small JSON file: its weights as signed bytes, no code, nothing that could run."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from core.classifiers.classifier import Card
from core.classifiers.lexical import words
from core.classifiers.lexical.features import Indices, Values

# Raised whenever the code makes other features of a text: it is part of the digest, as the files are.
FEATURES = 1

Vector = tuple[Indices, Values]


@dataclass(frozen=True, slots=True)
class Weights:
    """`quanta` (buckets, categories) times `scale` (categories,) are the weights; `bias` is added to a sum.

    A margin of 0 is where a category is taken to apply. `exclusive`: one category of all holds (softmax).
    """

    categories: tuple[str, ...]
    exclusive: bool
    quanta: NDArray[np.int8]
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]

    def dump(self) -> bytes:
        body = {
            "categories": list(self.categories),
            "exclusive": self.exclusive,
            "buckets": int(self.quanta.shape[0]),
            "scale": self.scale.tolist(),
            "bias": self.bias.tolist(),
            "weights": base64.b64encode(self.quanta.tobytes()).decode(),
        }
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @staticmethod
    def load(raw: bytes) -> "Weights":
        body = orjson.loads(raw)
        flat = np.frombuffer(base64.b64decode(body["weights"]), np.int8)
        return Weights(
            tuple(body["categories"]),
            body["exclusive"],
            flat.reshape(body["buckets"], len(body["categories"])),
            np.array(body["scale"]),
            np.array(body["bias"]),
        )

    def probabilities(self, vector: Vector) -> NDArray[np.float64]:
        """(categories,), each 0..1."""
        indices, values = vector
        margin = (values @ self.quanta[indices]) * self.scale + self.bias
        if self.exclusive:
            above = np.exp(margin - margin.max())
            return np.asarray(above / above.sum())
        return np.asarray(1 / (1 + np.exp(-margin)))


class Lexical:
    """See core.classifiers.classifier.Classifier; holds nothing that changes, so threads may share it.

    `vectors`: the windows of a text, of which in each category the largest score counts.
    """

    def __init__(
        self,
        name: str,
        weights: Path,
        card: Path,
        vectors: Callable[[str], Sequence[Vector]],
    ) -> None:
        raw = weights.read_bytes()
        self.name = name
        self.digest = digest(name, raw)
        self._weights = Weights.load(raw)
        self.categories = self._weights.categories
        self._vectors = vectors
        self.card = Card.load(orjson.loads(card.read_bytes())) if card.exists() else self._blank()

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [self._scores(text) for text in texts]

    def _scores(self, text: str) -> dict[str, float]:
        each = [self._weights.probabilities(vector) for vector in self._vectors(text)]
        highest: Mapping[str, float] = dict(
            zip(self.categories, np.max(each, axis=0).tolist(), strict=True)
        )
        return dict(highest)

    def _blank(self) -> Card:
        """Before the first measurement."""
        return Card(
            name=self.name,
            digest=self.digest,
            thresholds=dict.fromkeys(self.categories, 0.5),
        )


def digest(name: str, weights: bytes) -> str:
    """Of all that a score depends on: weights, word classes and how features are made."""
    whole = hashlib.sha256(f"{name}\n{FEATURES}\n".encode())
    whole.update(weights)
    whole.update(words.CLASSES.read_bytes())
    return whole.hexdigest()
