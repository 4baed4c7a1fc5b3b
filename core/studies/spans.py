"""The parts of a prompt that an explanation takes away or swaps: words, sentences or fields, at most so many."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

# The texts of a prompt that may be edited: the prompt alone, or the contents of its messages.
Texts = tuple[str, ...]
Unit = Literal["word", "sentence", "field"]

_WORD = re.compile(r"\w+(?:[-'\u2019.]\w+)*")
_SENTENCE = re.compile(r"[^\s.!?][^.!?\n]*[.!?]*")
_LINE = re.compile(r"\S[^\n]*")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [begin, end) of texts[part]."""

    part: int
    begin: int
    end: int

    def of(self, texts: Texts) -> str:
        return texts[self.part][self.begin : self.end]


def split(texts: Texts, unit: Unit | Literal["auto"], most: int) -> tuple[Unit, list[Span]]:
    """Spans in reading order, none overlapping. "auto": the smallest unit of which there are at most `most`; what is
    still too many is put together with its neighbours. A field is a line, or a whole message of several."""
    if unit != "auto":
        return unit, _together(_found(texts, unit), most)
    units: tuple[Unit, ...] = ("word", "sentence", "field")
    for one in units:
        spans = _found(texts, one)
        if len(spans) <= most:
            return one, spans
    return "field", _together(_found(texts, "field"), most)


def _found(texts: Texts, unit: Unit) -> list[Span]:
    if unit == "field" and len(texts) > 1:
        return [Span(part, 0, len(text)) for part, text in enumerate(texts) if text.strip()]
    pattern = {"word": _WORD, "sentence": _SENTENCE, "field": _LINE}[unit]
    return [
        Span(part, match.start(), match.start() + len(match[0].rstrip()))
        for part, text in enumerate(texts)
        for match in pattern.finditer(text)
    ]


def _together(spans: list[Span], most: int) -> list[Span]:
    """Neighbours of one text joined until there are no more than `most`, as evenly as their number allows."""
    while len(spans) > most:
        pairs = [k for k in range(len(spans) - 1) if spans[k].part == spans[k + 1].part]
        if not pairs:
            return spans[:most]
        # The shortest of two neighbours: no piece grows far beyond the others.
        at = min(pairs, key=lambda k: spans[k + 1].end - spans[k].begin)
        spans[at : at + 2] = [Span(spans[at].part, spans[at].begin, spans[at + 1].end)]
    return spans


def without(texts: Texts, spans: Sequence[Span], by: str = "") -> Texts:
    """The texts with these spans taken away, and with each the blank that would stand double; or with `by` in their
    place."""
    edited = list(texts)
    for span in sorted(spans, key=lambda one: (one.part, -one.begin)):
        text = edited[span.part]
        edited[span.part] = _joined(text[: span.begin], by, text[span.end :])
    return tuple(edited)


def _joined(before: str, by: str, after: str) -> str:
    if by:
        return before + by + after
    blank = before[-1:].isspace()
    if after[:1].isspace() and (blank or not before):
        return before + after[1:]
    # At the end, or before a full stop.
    if blank and not after[:1].isalnum():
        return before[:-1] + after
    return before + after


def swapped(texts: Texts, one: str, other: str) -> Texts | None:
    """Every `one` as `other` and every `other` as `one`, as whole words and in the case they had; None: neither is
    there."""
    words = "|".join(re.escape(word) for word in sorted((one, other), key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)
    edited = tuple(pattern.sub(_other(one, other), text) for text in texts)
    return None if edited == texts else edited


def _other(one: str, other: str) -> Callable[[re.Match[str]], str]:
    def put(match: re.Match[str]) -> str:
        found = match[0]
        old, new = (one, other) if found.lower() == one.lower() else (other, one)
        if found == old:
            return new
        if found.isupper() and len(found) > 1:
            return new.upper()
        return new[:1].upper() + new[1:] if found[:1].isupper() else new

    return put
