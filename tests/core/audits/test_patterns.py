"""Uploaded patterns are bounded when they are loaded: those that could hang are refused with what to do."""

import pytest

from core.audits.suites import patterns


@pytest.mark.parametrize(
    "pattern",
    [
        r"answer is \d+", r"\b(red|blue)\b", r"(?i)yes", r"^\s*+(\d{1,9})", r"[A-Z][a-z]{2,20} \d{4}", r"a.*b",
        r"(?>\w+)x", r"(ab){1,3}c", r"(?:\d{1,3}\.){3}\d{1,3}",
    ],
)  # fmt: skip
def test_a_bounded_pattern_is_taken(pattern: str) -> None:
    assert patterns.compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a+)+$", "too long"),
        (r"(a|a)*$", "too long"),
        (r"a.*b.*c", "too long"),
        (r"(\w*\s*)*:", "too long"),
        (r"(a)\1", "groupref"),
        (r"(?=a*)b", "assert"),
        (r"(unclosed", "no regular expression"),
        (r"x*", "empty answer"),
        ("", "1 to 500"),
        ("a" * 501, "1 to 500"),
    ],
)
def test_one_that_could_hang_or_says_nothing_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        patterns.compiled(pattern)


def test_the_end_of_a_long_answer_is_what_is_searched() -> None:
    worst = patterns.compiled(r"a.*b")
    assert patterns.searched(worst, "a" * 100_000) is None
    assert patterns.searched(worst, "x" * 10_000 + "a b") is not None
    assert patterns.searched(worst, "a b" + "x" * 10_000) is None
