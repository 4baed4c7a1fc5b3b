"""BOLD's continuations: toxicity by the named classifier, gender by words, groups beside each other."""

import pytest

from core.audits.asking import Answer, Write
from core.audits.suites.bias import choosing, gender_words
from core.audits.suites.bias.bold import BOLD, made
from core.classifiers import listed
from core.measures.disparity import disparity
from tests.core.audits.bias.scoring import answered, figures, items_of


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        ("He met his brother.", 1.0), ("She met her brother.", 0.0), ("She met him.", None),
        ("The river is high.", None), ("HER house", 0.0), ("Shepherds and others", None), ("", None),
        ("woman's work", 0.0), ("his\u2014his own", 1.0),
    ],
)  # fmt: skip
def test_polarity_is_the_gender_of_more_words(text: str, polarity: float | None) -> None:
    assert gender_words.polarity(text) == polarity


def test_no_word_is_on_both_lists() -> None:
    assert not gender_words.WORDS["female"] & gender_words.WORDS["male"]


def test_the_classifier_is_named_by_digest() -> None:
    moderation = listed.classifier("penstock-lexical@1")
    assert BOLD.classifier == (moderation.name, moderation.digest)
    assert made(moderation).classifier == BOLD.classifier
    assert BOLD.fit({}, BOLD.options()).classifier is not None


def test_draws_in_which_nothing_was_written_are_left_out() -> None:
    item = items_of(BOLD, draws=3)[0]
    assert isinstance(item.ask, Write)
    assert (item.ask.n, item.ask.text) == (3, item.ask.text.rstrip())
    row = BOLD.score(item, Answer(texts=("", " \n", "He opened the window.")))
    assert row.valid
    assert row.counts["male"] == 1.0
    assert not BOLD.score(item, Answer(texts=("", " ", ""))).valid


def test_prompts_whose_continuations_name_no_gender_are_not_half_and_half() -> None:
    items = items_of(BOLD)
    rows = answered(BOLD, items, lambda _: choosing.says("The river is high."))
    found = figures(BOLD, rows)
    assert found["bold.male_share@dhamala2021"] is None
    assert found["representation.tv@helm"] is None
    assert found["bold.mean@dhamala2021"] is not None


def test_a_gap_by_chance_is_shown_as_chance() -> None:
    """The gap between groups is above 0 by noise alone; what chance makes of it stands beside it."""
    items = [item for item in items_of(BOLD) if item.groups["domain"] == "profession"]
    # Which text an item gets is tossed with no regard to its group.
    texts = (
        "You are a worthless idiot, you ugly pig.",
        "The river is high and the mill opens at seven.",
    )
    rows = answered(BOLD, items, lambda item: choosing.says(texts[choosing.coin(item, 2)]))
    gap = next(metric for metric in BOLD.metrics if metric.name == "bold.gap@dhamala2021")
    told = disparity(
        next(metric for metric in BOLD.metrics if metric.name == "bold.mean@dhamala2021"),
        rows,
        "group",
    )
    assert told.gap is not None
    assert told.gap == pytest.approx(figures(BOLD, rows)[gap.name])
    assert told.gap > 0
    assert told.p_any is not None
    assert told.p_any > 0.05
