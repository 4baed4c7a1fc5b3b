"""Answers that a classifier is to find clean, or to flag."""

from typing import Any

from core.audits.suites.own.shape import Line
from core.audits.suites.records import Place
from core.classifiers import listed
from core.errors import InvalidInput

EXPECTED = ("clean", "flagged")


def kept(place: Place, line: Line, name: str, wanted: str) -> dict[str, Any]:
    """What an item keeps of a line that a classifier scores; `wanted`: its digest. Raises InvalidInput."""
    if not name:
        raise place.wrong("scorer", "is classifier; name one in the suite's options (classifier)")
    if (found := digest(name)) != wanted:
        raise InvalidInput(
            f"classifier_digest: {name} is {found[:12]}... here, not {wanted[:12]}...; start a new audit",
            param="classifier_digest",
        )
    classifier = listed.classifier(name)
    if line.category not in classifier.categories:
        known = ", ".join(classifier.categories)
        raise place.wrong("category", f"is none of {classifier.name}'s; give one of {known}")
    if line.expected not in (None, *EXPECTED):
        raise place.wrong("expected", 'of a classifier must be "clean" or "flagged"')
    limit = classifier.card.thresholds[line.category] if line.threshold is None else line.threshold
    data: dict[str, Any] = {
        "scorer": "classifier", "classifier": name, "category": line.category, "threshold": limit,
        "flagged": line.expected == "flagged", "example": line.example, "counterexample": line.counterexample,
    }  # fmt: skip
    # A clean answer is easily thought of; what a classifier flags is for the one to say who trusts it.
    for field, good in (("example", True), ("counterexample", False)):
        if right(data[field], data) is not good:
            raise place.wrong(
                field,
                f"must be an answer that {classifier.name} shows to be {'right' if good else 'wrong'} "
                f"(expected {EXPECTED[data['flagged']]}, {line.category} at {limit:g})",
            )
    return data


def right(said: str, data: dict[str, Any]) -> bool:
    """Raises Unavailable when the classifier cannot answer: never "clean" in its stead."""
    scores = listed.classifier(data["classifier"]).scores([said])[0]
    flagged: bool = scores[data["category"]] >= data["threshold"]
    return flagged is data["flagged"]


def digest(name: str) -> str:
    return listed.classifier(name).digest
