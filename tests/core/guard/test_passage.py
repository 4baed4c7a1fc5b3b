"""A passage: what leaves is the same however the text comes, and nothing leaves that is not to be said."""

import base64
import codecs
import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog import tokenizer
from core.config import MODEL_FOLDER
from core.guard.correcting import Strings, pieces
from core.guard.guard import Guard
from tests.guarding import guard, spoken, whole

RULES = guard(actions={"ip": {"action": "observe"}})
# What must not be said, as a model may write it; the last of each pair: something that betrays it.
SECRETS = (
    "jane.doe+x@mail.example.com",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "123-45-6789",
    "+44 (0)20 7946 0958",
    "(212) 555-0123",
    "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432",
    "sk-abcdefghijklmnopqrstuv",
    "ghp_0123456789abcdefghijABCDEFGHIJ",
    "EMP-123456",
    "B4dW0rd",
    "b a d w o r d",
    "b.a.d.w.o.r.d",
    "bad-word",
    "bad_word",
    "baaadword",
    "b\u0430dw\u043erd",
    "\uff42\uff41\uff44\uff57\uff4f\uff52\uff44",
    "bad\u200bword",
    "b\u0301adword",
    "badword"[::-1],
    codecs.encode("badword", "rot13"),
    "k1ll y0urself",
    "very   bad-thing",
    "\u574f\u8bdd",
    base64.b64encode(b"kill yourself now").decode(),
    b"badword".hex(),
    "%62%61%64%77%6f%72%64",
    "62 61 64 77 6f 72 64",
    "0x62, 0x61, 0x64, 0x77, 0x6f, 0x72, 0x64",
    r"\x62\x61\x64\x77\x6f\x72\x64",
    r"\u0062\u0061\u0064\u0077\u006f\u0072\u0064",
    "&#98;ad&#x77;ord",
    "jane&commat;example&period;com",
    "jane\x7f\x08@exa\x85mple.com",
    "jane\u2065@example\U000e0fff.com",
    "jane@example\u3002com",
    "4111\u20131111\u20111111\u20121111",
    "\u0664\u0661\u0661\u0661 \u0967\u0967\u0967\u0967 1111 \u2780111",
    "DE89-3704-0044-0532-0130-00",
    "\U0001f171\U0001f150\U0001f1e9word",
)
PLAIN = (
    "The river",
    " ran to",
    " the sea",
    ", ",
    ". ",
    "\n",
    " 1984",
    " 12",
    "-",
    " bad",
    " word",
    " k",
    " I",
    "a",
    " b ",
    "caf\u00e9",
    "\u4f60\u597d",
    "\u2014",
    " (",
    ") ",
    " +",
    "@",
    " x@y",
    " 4111",
    " EMP-",
    "'",
    '"',
    "\U0001f600",
    "\u0301",
    " version 1.2.3",
    " the pen is",
    " as sure",
    " class",
    " loose",
    "&",
    "&#",
    " &amp; ",
    " Q&A",
    "\x08",
    " 0x",
    " 20 21",
    "\\",
)
_TEXTS = st.lists(st.sampled_from(SECRETS + PLAIN), max_size=14).map("".join)


def _cuts(text: str, seed: int) -> list[str]:
    chance = random.Random(seed)
    out, at = [], 0
    while at < len(text):
        size = chance.choice((1, 1, 2, 3, 4, 7, 15, 40, 200))
        out.append(text[at : at + size])
        at += size
    return out


def _streamed(by: Guard, parts: list[str], *, escaped: bool = False) -> list[str]:
    """What has left after each part, and at the end."""
    passage, said, out = by.passage(escaped=escaped), "", []
    for part in parts:
        said += spoken(passage.feed(part))
        out.append(said)
    return [*out, said + spoken(passage.finish())]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_and_no_part_of_it_leaves(secret: str) -> None:
    text = f"So he said: {secret} , and went."
    said = whole(RULES, text)
    assert said.startswith("So he said: [")
    assert said.endswith("] , and went.")
    for seed in range(40):
        steps = _streamed(RULES, _cuts(text, seed))
        assert steps[-1] == said
        assert all(said.startswith(step) for step in steps)


@settings(max_examples=1500, deadline=None)
@given(text=_TEXTS, seed=st.integers(0, 2**32))
def test_any_chunking_says_what_the_whole_text_says(text: str, seed: int) -> None:
    said = whole(RULES, text)
    steps = _streamed(RULES, _cuts(text, seed))
    assert steps[-1] == said
    assert all(said.startswith(step) for step in steps)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(SECRETS + PLAIN), max_size=14))
def test_what_was_said_is_said_again_as_it_is(parts: list[str]) -> None:
    """Of texts whose words have boundaries: a number that stuck to an address is met only when that is gone."""
    once = whole(RULES, " ; ".join(parts))
    assert whole(RULES, once) == once


def test_tokens_of_the_real_tokenizer_say_the_same() -> None:
    words = tokenizer.load(str(MODEL_FOLDER))
    for secret in SECRETS:
        text = f"It was {secret}; nobody knew. {secret}\n"
        ids = words.encode(text, special=False)
        ends = [words.decode(ids[:n]).rstrip("\ufffd") for n in range(len(ids) + 1)]
        parts = [now[len(before) :] for before, now in itertools.pairwise(ends)]
        steps = _streamed(RULES, parts)
        assert steps[-1] == whole(RULES, "".join(parts))
        assert all(steps[-1].startswith(step) for step in steps)


@settings(max_examples=500, deadline=None)
@given(text=_TEXTS, seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_another_goes_on_where_one_was_killed(text: str, seed: int, share: float) -> None:
    """It knows the raw text that was read and how much of it had left."""
    passage, said, read = RULES.passage(), "", ""
    parts = _cuts(text, seed)
    killed = int(share * len(parts))
    for part in parts[:killed]:
        read += part
        said += spoken(passage.feed(part))
    second = RULES.passage()
    second.resume(read, passage.done)
    for part in parts[killed:]:
        said += spoken(second.feed(part))
    assert said + spoken(second.finish()) == whole(RULES, text)


@settings(max_examples=500, deadline=None)
@given(text=_TEXTS, seed=st.integers(0, 2**32))
def test_watching_finds_the_same_however_the_text_comes(text: str, seed: int) -> None:
    watching = guard(mode="observe")

    def met(parts: list[str]) -> list[tuple[str, str]]:
        passage = watching.passage()
        stretches = [one for part in parts for one in passage.feed(part)] + passage.finish()
        assert spoken(stretches) == text
        return sorted(hit for one in stretches for span in one.seen for hit in span.hits)

    assert met(_cuts(text, seed)) == met([text])


def test_what_is_held_is_bounded() -> None:
    passage = RULES.passage()
    most = 0
    for _ in range(3000):
        passage.feed("a1@")
        most = max(most, len(passage.held))
    assert most <= 1500


def test_prose_waits_for_a_word_and_no_longer() -> None:
    passage = RULES.passage()
    waited = []
    for word in [
        "The",
        "river",
        "ran",
        "down",
        "to",
        "the",
        "sea",
        "and",
        "nobody",
        "knew",
        "where",
        "it",
        "had",
        "come",
        "from",
    ]:
        passage.feed(word + " ")
        waited.append(len(passage.held))
    assert max(waited) <= len("nobody ")


def test_a_stop_ends_what_is_said() -> None:
    stopping = guard(actions={"slur": {"action": "stop"}})
    passage = stopping.passage()
    (stretch,) = passage.feed("He is a badword, and then ")
    parts = list(pieces(stretch))
    assert "".join(p.text for p in parts) == "He is a "
    assert parts[-1].span is not None
    assert parts[-1].span.act.action == "stop"


def test_other_words_are_said_instead() -> None:
    by = guard(actions={"slur": {"action": "rewrite", "text": "***"}, "staff": {"action": "off"}})
    assert whole(by, "badword EMP-123456") == "*** EMP-123456"


def _halves(word: str) -> str:
    """In mathematical letters, as JSON escapes them: two halves each."""
    return json.dumps("".join(chr(0x1D41A + ord(c) - ord("a")) for c in word))[1:-1]


# As models write them inside of strings; the guard reads them as their readers will.
IN_JSON = (
    _halves("badword"),
    r"jane\u0040example.com",
    r"jane&#64;example.com",
    r"\ud83c\udd71adword",
    r"b\u200badword",
)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.sampled_from((*IN_JSON, *PLAIN[:12], r"\\", r"\n", r"\ud83d", "u0062")), max_size=10),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_json_says_the_same_however_it_comes(parts: list[str], seed: int) -> None:
    text = json.dumps({"a": 0})[:-2] + '"' + "".join(parts).replace("\n", " ") + '"}'
    said = whole(RULES, text, escaped=True)
    passage, strings, heard = RULES.passage(escaped=True), Strings(), ""
    for part in _cuts(text, seed):
        heard += spoken(passage.feed(part), strings)
        assert said.startswith(heard)
    assert heard + spoken(passage.finish(), strings) == said


@pytest.mark.parametrize("secret", IN_JSON)
def test_what_json_escapes_is_found(secret: str) -> None:
    said = json.loads(whole(RULES, f'{{"a": "so {secret} is"}}', escaped=True))["a"]
    assert said.startswith("so [")
    assert said.endswith("] is")


@pytest.mark.parametrize("text", ["Q&A &notes; &#x; &#99999999; &", "a && b", "&lt;b&gt; AT&T"])
def test_what_is_no_entity_is_said_as_it_is(text: str) -> None:
    assert whole(RULES, text) == text
