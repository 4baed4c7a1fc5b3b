"""Terms are found however they are spelled, ordinary words are let through, and short cuts miss nothing."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.guard import lexicon
from core.guard.folding import seen
from core.guard.lexicon import Term, Tree, plain

TERMS = (
    "badword",
    "kill yourself",
    "ass",
    "lose",
    "a bomb",
    "go die",
    "ab",
    "l33t",
    "\u0442\u0435\u0441\u0442\u043e\u0432\u043e",
    "\u574f\u8bdd",
    "stra\u00dfe",
)
TREE = Tree([Term(term, term, term == "badword") for term in TERMS])


def _met(text: str) -> list[tuple[str, str]]:
    shown = seen(text).text
    return [
        (shown[begin:end], category)
        for begin, end, category in TREE.walked(shown, 0, final=True)[0]
    ]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("BADWORD", "badword"),
        ("B4dW0rd!", "badword"),
        ("b.a.d.w.o.r.d", "badword"),
        ("b a d w o r d", "badword"),
        ("bad-word", "badword"),
        ("bad_word", "badword"),
        ("baaadword", "badword"),
        ("baaddwwoorrdd", "badword"),
        ("drowdab", "badword"),
        ("onqjbeq", "badword"),
        ("b\nad-word".replace("\n", ""), "badword"),
        ("kill   yourself", "kill yourself"),
        ("killyourself", "kill yourself"),
        ("k1ll y0ur$elf", "kill yourself"),
        ("k i l l y o u r s e l f", "kill yourself"),
        ("a$$", "ass"),
        ("@ss", "ass"),
        ("asss", "ass"),
        ("looose", "lose"),
        (
            "\u0422\u0415\u0421\u0422\u041e\u0412\u041e",
            "\u0442\u0435\u0441\u0442\u043e\u0432\u043e",
        ),
        ("\u8fd9\u662f\u574f\u8bdd\u5417", "\u574f\u8bdd"),
        ("STRA\u00dfE", "stra\u00dfe"),
        ("L33T", "l33t"),
        ("go  die", "go die"),
    ],
)
def test_a_term_is_found(text: str, term: str) -> None:
    for around in (text, f"so {text}, then", f"({text})"):
        assert term in [category for _, category in _met(around)], around


@pytest.mark.parametrize(
    "text",
    [
        "bad words",
        "bad word",
        "badwordy",
        "class",
        "assess",
        "as sure",
        "loose",
        "closed",
        "the rapist",
        "abacus",
        "a bombastic",
        "go diet",
        "b a d",
        "lossless",
    ],
)
def test_other_words_are_not(text: str) -> None:
    assert _met(f"so {text} then") == []


_PARTS = st.lists(
    st.sampled_from(
        [
            *TERMS,
            "bad",
            "word",
            "b",
            "a",
            "as",
            "s",
            "ki",
            "ll",
            "-",
            " ",
            "  ",
            ".",
            "\n",
            "4",
            "1",
            "0",
            "$",
            "!",
            "go",
            "die",
            "x",
            "oo",
            "ab",
            "l",
            "\u574f",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=2000, deadline=None)
@given(text=_PARTS)
def test_short_cuts_find_what_walking_from_everywhere_finds(text: str) -> None:
    text = seen(text).text
    found: list[tuple[int, int, str]] = []
    for final in (True, False):
        found.clear()
        hold = len(text)
        for match in re.finditer(lexicon._BOUNDARY + r"(?=.)", text, re.DOTALL):
            if TREE._walk(text, match.start(), found, final=final):
                hold = min(hold, match.start())
        spans, kept = TREE.walked(text, 0, final=final)
        assert sorted(set(spans)) == sorted(set(found))
        assert kept == hold


def test_a_term_is_read_as_texts_are() -> None:
    assert plain("  Kill-\u00dd\u043eurself! ") == "kill yourself"
