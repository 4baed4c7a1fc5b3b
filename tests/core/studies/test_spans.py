"""Prompts cut into parts, and the parts taken away or swapped without leaving holes."""

from itertools import pairwise

import pytest

from core.studies import spans
from core.studies.spans import Span, Texts


def words(texts: Texts, found: list[Span]) -> list[str]:
    return [span.of(texts) for span in found]


def test_a_short_prompt_is_cut_into_its_words() -> None:
    texts = ("The nurse said that it's 3.5 o'clock, well-known.",)
    unit, found = spans.split(texts, "auto", 32)
    assert unit == "word"
    assert words(texts, found) == [
        "The",
        "nurse",
        "said",
        "that",
        "it's",
        "3.5",
        "o'clock",
        "well-known",
    ]


def test_a_longer_one_into_sentences_and_a_long_one_into_lines() -> None:
    texts = ("One two three. Four five? Six!\nSeven eight",)
    unit, found = spans.split(texts, "auto", 4)
    assert (unit, words(texts, found)) == (
        "sentence",
        ["One two three.", "Four five?", "Six!", "Seven eight"],
    )
    unit, found = spans.split(texts, "auto", 2)
    assert (unit, words(texts, found)) == (
        "field",
        ["One two three. Four five? Six!", "Seven eight"],
    )


def test_of_several_messages_each_is_a_field() -> None:
    texts = ("Be brief.\nBe kind.", "Hello there", "  ")
    unit, found = spans.split(texts, "field", 32)
    assert (unit, words(texts, found)) == ("field", ["Be brief.\nBe kind.", "Hello there"])


@pytest.mark.parametrize("most", [1, 2, 5, 32])
@pytest.mark.parametrize("unit", ["auto", "word", "sentence", "field"])
def test_there_are_never_more_than_asked_for_and_nothing_is_left_out(
    unit: spans.Unit, most: int
) -> None:
    texts = (" ".join(f"Word{n} is here." for n in range(90)),)
    _, found = spans.split(texts, unit, most)
    assert 1 <= len(found) <= most
    assert all(one.end <= other.begin for one, other in pairwise(found))
    covered = "".join(words(texts, found)).replace(" ", "").replace(".", "")
    assert covered == texts[0].replace(" ", "").replace(".", "")


def test_pieces_that_were_put_together_are_of_like_size() -> None:
    texts = (" ".join(f"w{n:02}" for n in range(64)),)
    _, found = spans.split(texts, "word", 32)
    sizes = [span.end - span.begin for span in found]
    assert max(sizes) <= 3 * min(sizes)


@pytest.mark.parametrize(
    ("text", "word", "rest"),
    [
        ("The nurse said", "nurse", "The said"),
        ("The nurse said", "The", "nurse said"),
        ("The nurse said", "said", "The nurse"),
        ("He shut the door.", "door", "He shut the."),
        ("Answer: yes", "yes", "Answer:"),
        ("(yes) no", "yes", "() no"),
        ("One. Two. Three.", "Two.", "One. Three."),
        ("a\nb\nc", "b", "a\nc"),
    ],
)
def test_what_is_taken_away_leaves_no_double_blank(text: str, word: str, rest: str) -> None:
    begin = text.index(word)
    assert spans.without((text,), [Span(0, begin, begin + len(word))]) == (rest,)


def test_several_are_taken_from_the_places_they_have_in_the_whole() -> None:
    texts = ("a b c d", "e f")
    found = [Span(0, 2, 3), Span(0, 6, 7), Span(1, 0, 1)]
    assert spans.without(texts, found) == ("a c", "f")
    assert spans.without(texts, found, "...") == ("a ... c ...", "... f")
    assert texts == ("a b c d", "e f")


def test_a_swap_goes_both_ways_and_keeps_the_case() -> None:
    texts = ("The nurse asked the Engineer. NURSE! nurses",)
    assert spans.swapped(texts, "nurse", "engineer") == (
        "The engineer asked the Nurse. ENGINEER! nurses",
    )


def test_a_swap_that_finds_no_whole_word_is_none() -> None:
    assert spans.swapped(("The nurses said",), "nurse", "engineer") is None


def test_a_word_within_its_counterpart_is_no_trap() -> None:
    assert spans.swapped(("a young man met an old man",), "man", "old man") == (
        "a young old man met an man",
    )


def test_signs_in_a_word_mean_themselves() -> None:
    assert spans.swapped(("I use C++ daily",), "C++", "Rust") == ("I use Rust daily",)
