"""Precision and recall of a classifier on labelled lines that it has not seen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.classifiers import labelled
from core.classifiers.classifier import Card, Classifier, Measured, Share
from core.classifiers.labelled import Line


def measured(
    classifier: Classifier, path: Path, *, exclusive: bool, limits: tuple[str, ...] = ()
) -> Card:
    """The classifier's card from a file of labelled lines. `exclusive`: the largest score is the answer."""
    lines = list(labelled.lines(path, classifier.categories))
    held_out = [line for line in lines if line.held_out]
    scores = classifier.scores([line.text for line in held_out])
    found = [_found(classifier, one, exclusive=exclusive) for one in scores]
    return replace(
        classifier.card,
        name=classifier.name,
        digest=classifier.digest,
        data=path.name,
        data_digest=labelled.digest(path),
        train=len(lines) - len(held_out),
        test=len(held_out),
        measured={
            category: _measured(category, classifier.card.thresholds[category], held_out, found)
            for category in classifier.categories
        },
        limits=limits,
    )


def _found(classifier: Classifier, scores: dict[str, float], *, exclusive: bool) -> set[str]:
    if exclusive:
        return {max(classifier.categories, key=scores.__getitem__)}
    return {c for c in classifier.categories if scores[c] >= classifier.card.thresholds[c]}


def _measured(
    category: str, threshold: float, lines: Sequence[Line], found: Sequence[set[str]]
) -> Measured:
    pairs = [
        (category in line.labels, category in one) for line, one in zip(lines, found, strict=True)
    ]
    both = sum(is_one and told for is_one, told in pairs)
    told = sum(told for _, told in pairs)
    are = sum(is_one for is_one, _ in pairs)
    neither = sum(not is_one and not told for is_one, told in pairs)
    return Measured(
        threshold, Share(both, told), Share(both, are), Share(neither, len(pairs) - are)
    )
