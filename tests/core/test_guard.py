"""Texts that are almost the same and ask for something else are told apart; those said otherwise are not."""

import pytest

from core.jobs import guard


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Give me 3 ideas", "Give me 5 ideas"),
        ("It costs 1,000.50", "It costs 1,000.05"),
        ("Which fit? Those that do", "Which fit? Those that don't"),
        ("with food or without", "with food"),
        ("Is it legal?", "Is it illegal?"),
        ("how to enable it", "how to disable it"),
        ("Does Alice like Bob?", "Does Bob like Alice?"),
        ("from the airport to the hotel", "from the hotel to the airport"),
        ("far from Paris", "far from Nice"),
        ("the gene BRCA1", "the gene BRCA2"),
    ],
)
def test_they_differ_both_ways(one: str, other: str) -> None:
    assert guard.differs(one, other)
    assert guard.differs(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "how can I reset my password"),
        ("What is the largest ocean?", "Which ocean is the largest?"),
        ("Who painted the Mona Lisa?", "Which artist painted the Mona Lisa?"),
        ("the same", "the same"),
    ],
)
def test_they_may_share_an_answer(one: str, other: str) -> None:
    assert not guard.differs(one, other)
    assert not guard.differs(other, one)
