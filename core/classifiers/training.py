"""Makes the built-in classifiers and their cards from the labelled lines: `python -m core.classifiers.training`.

Logistic regression with a ridge penalty, fitted in the space of the lines (there are hundreds, and 32768 buckets).
Where a category begins to apply is found by cross-validation over the groups of the training half, and lies at a
score of 0.5. The card is of the held-out half, whose figures were seen while that rule was chosen: they are optimistic.
"""

from collections.abc import Callable, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.optimize import minimize

from core.classifiers import labelled, measuring
from core.classifiers.labelled import Line
from core.classifiers.lexical import moderation, refusal, words
from core.classifiers.lexical.linear import Vector, Weights

Array = NDArray[np.float64]
# Ridge penalty, and what a line that has a label counts against one that has not; both by cross-validation.
PENALTY, POSITIVE = 0.03, 3.0
FOLDS = 5
# Of lines without a category the share that may be told to have it. Ordinary text is harmless far more often than these
# lines are, and nobody keeps a guard that stops one in ten harmless sentences.
FALSE_ALARMS = 0.01
# Of the classifiers as they are shipped; their cards carry these sentences into every report.
MODERATION_LIMITS = (
    "It is not a moderation model for production: hundreds of short lines taught it, and it reads words, not meaning.",
    "Lines and word classes have the same author, so on other people's text it does worse than measured here.",
    "Slurs stand masked as [slur] or replaced by mild words in the lines, and it was never shown real ones.",
    "It knows no sexual content that involves minors, no graphic violence, and no language but English.",
)
REFUSAL_LIMITS = (
    "It tells by wording whether an answer refuses, not whether what it says is right, complete or harmful.",
    "An answer off the subject counts as no refusal; so does one in another language than English.",
    "Partial refusals are told worst: see their precision and recall.",
)


def matrix(lines: Sequence[Line], vectors: Callable[[str], Sequence[Vector]]) -> Array:
    """(lines, BUCKETS). A training line is one window."""
    rows = np.zeros((len(lines), words.BUCKETS))
    for row, line in zip(rows, lines, strict=True):
        indices, values = vectors(line.text)[0]
        row[indices] = values
    return rows


def fitted(rows: Array, labels: Array) -> tuple[Array, float]:
    """(weights of the buckets, bias) for one category; `labels` 0 or 1."""
    kernel = rows @ rows.T
    importance = np.where(labels > 0, POSITIVE, 1.0)

    def loss(point: Array) -> tuple[float, Array]:
        share, bias = point[:-1], point[-1]
        drawn = kernel @ share
        margin = drawn + bias
        cost = (importance * (np.logaddexp(0, margin) - labels * margin)).sum()
        slope = importance * (1 / (1 + np.exp(-margin)) - labels)
        return (
            cost + PENALTY / 2 * share @ drawn,
            np.append(kernel @ slope + PENALTY * drawn, slope.sum()),
        )

    found = minimize(
        loss, np.zeros(len(rows) + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    ).x
    return rows.T @ found[:-1], float(found[-1])


def folded(rows: Array, labels: Array, groups: Sequence[str]) -> tuple[Array, float, Array]:
    """(weights, bias, margins): the mean of what each fold's absence gives, and each line's margin without its fold.

    Weights of all lines at once would be longer than those the margins come from, and a boundary found on these
    margins would lie too low for them. A group is in one fold.
    """
    order = {group: number % FOLDS for number, group in enumerate(sorted(set(groups)))}
    fold = np.array([order[group] for group in groups])
    margins = np.zeros(len(rows))
    each = [fitted(rows[fold != one], labels[fold != one]) for one in range(FOLDS)]
    for one, (weights, bias) in enumerate(each):
        margins[fold == one] = rows[fold == one] @ weights + bias
    mean = np.mean([weights for weights, _ in each], axis=0)
    return mean, float(np.mean([bias for _, bias in each])), margins


def boundary(margins: Array, labels: Array) -> float:
    """The margin from which on a category is told: FALSE_ALARMS of the lines without it lie above."""
    return float(np.quantile(margins[labels == 0], 1 - FALSE_ALARMS))


def weights_of(
    lines: Sequence[Line],
    categories: tuple[str, ...],
    vectors: Callable[[str], Sequence[Vector]],
    *,
    exclusive: bool,
) -> Weights:
    train = [line for line in lines if not line.held_out]
    rows = matrix(train, vectors)
    columns, biases = [], []
    for category in categories:
        labels = np.array([float(category in line.labels) for line in train])
        weights, bias, margins = folded(rows, labels, [line.group for line in train])
        if not exclusive:
            bias -= boundary(margins, labels)
        columns.append(weights)
        biases.append(bias)
    table = np.stack(columns, axis=1)
    scale = np.abs(table).max(axis=0) / 127
    return Weights(
        categories,
        exclusive,
        np.rint(table / scale).astype(np.int8),
        scale,
        np.array(biases),
    )


def main() -> None:
    for part, path, exclusive, limits in (
        (moderation, labelled.MODERATION, False, MODERATION_LIMITS),
        (refusal, labelled.REFUSAL, True, REFUSAL_LIMITS),
    ):
        lines = list(labelled.lines(path, part.CATEGORIES))
        weights = weights_of(lines, part.CATEGORIES, part.vectors, exclusive=exclusive)
        part.WEIGHTS.write_bytes(weights.dump())
        part.CARD.unlink(missing_ok=True)
        card = measuring.measured(part.load(), path, exclusive=exclusive, limits=limits)
        part.CARD.write_bytes(
            orjson.dumps(card.dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )


if __name__ == "__main__":
    main()
