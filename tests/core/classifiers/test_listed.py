"""Other classifiers through the seam: whatever is wrong with one is said, and an error is never a score."""

import pytest

from core.classifiers import listed
from core.classifiers.classifier import Card
from core.classifiers.lexical import moderation
from core.errors import InvalidInput, Unavailable
from tests.fakes import classifiers

HERE = "tests.fakes.classifiers"


def test_empty_is_the_one_that_the_settings_name() -> None:
    assert listed.classifier().name == moderation.NAME
    assert listed.classifier() is listed.classifier(moderation.NAME)


def test_another_is_named_by_its_factory() -> None:
    found = listed.classifier(f"{HERE}:word")
    assert found.scores(["a bad word", "a word"]) == [{"toxicity": 1.0}, {"toxicity": 0.0}]
    assert found.card.measured == {}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("penstock-lexical@9", "it is none of penstock-lexical@1, penstock-refusal@1"),
        ("no_such_module:make", "cannot be imported: No module named 'no_such_module'"),
        (f"{HERE}:missing", "has no attribute 'missing'"),
        (f"{HERE}:nothing", "has no name (str)"),
        (f"{HERE}:short_digest", "64 hexadecimal digits"),
        (f"{HERE}:no_threshold", "no threshold for toxicity"),
        (f"{HERE}:other_card", "measured on another digest"),
        (f"{HERE}:no_scores", "has no scores(texts)"),
    ],
)
def test_what_is_wrong_with_it_is_said(name: str, why: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        listed.classifier(name)
    assert why in wrong.value.message
    assert wrong.value.param == "classifier"


def test_a_dead_network_is_an_error_and_no_score() -> None:
    found = listed.classifier(f"{HERE}:unreachable")
    with pytest.raises(Unavailable, match="moderation"):
        found.scores(["anything"])


def test_a_card_without_measurements_keeps_its_thresholds() -> None:
    card = Card(name="x@1", digest=classifiers.DIGEST, thresholds={"toxicity": 0.7})
    assert Card.load(card.dump()) == card
