"""What is said in the place of what is not: masks, other words, or nothing more. JSON stays JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.guard.passage import Stretch
from core.guard.spans import Span


@dataclass(frozen=True, slots=True)
class Piece:
    """raw[begin:end] of a stretch as it is said; `span`: what was corrected there."""

    begin: int
    end: int
    text: str
    span: Span | None = None


@dataclass
class Strings:
    """Whether a place in JSON is inside of a string."""

    inside: bool = False
    _escaped: bool = False

    def over(self, raw: str) -> None:
        for char in raw:
            if self._escaped:
                self._escaped = False
            elif char == "\\" and self.inside:
                self._escaped = True
            elif char == '"':
                self.inside = not self.inside


def pieces(stretch: Stretch, strings: Strings | None = None) -> Iterator[Piece]:
    """The stretch as it is said, up to where it must stop: then the last piece's span says so and it has no text.

    `strings`: the text is JSON, and this is where it stands in it; only what is inside of strings is corrected as
    words, and a number becomes 0.
    """
    at = 0
    for span in stretch.spans:
        yield from _as_it_is(stretch.raw, at, span.begin, strings)
        if span.act.action == "stop":
            yield Piece(span.begin, len(stretch.raw), "", span)
            return
        if strings is None:
            yield Piece(span.begin, span.end, span.act.text, span)
        else:
            yield from _in_json(stretch.raw, span, strings)
        at = span.end
    yield from _as_it_is(stretch.raw, at, len(stretch.raw), strings)


def _as_it_is(raw: str, begin: int, end: int, strings: Strings | None) -> Iterator[Piece]:
    if begin < end:
        if strings is not None:
            strings.over(raw[begin:end])
        yield Piece(begin, end, raw[begin:end])


def _in_json(raw: str, span: Span, strings: Strings) -> Iterator[Piece]:
    """Quotes, and what stands between strings, stay; the first string that the span meets has the words."""
    said = json.dumps(span.act.text)[1:-1]
    for begin, end, inside in _parts(raw, span.begin, span.end, strings):
        if inside:
            yield Piece(begin, end, said, span)
            said = ""
        else:
            yield Piece(begin, end, _digitless(raw[begin:end]), span)


def _parts(raw: str, begin: int, end: int, strings: Strings) -> Iterator[tuple[int, int, bool]]:
    """raw[begin:end] cut at the quotes that open and close strings."""
    since = begin
    for at in range(begin, end):
        was = strings.inside
        strings.over(raw[at])
        if strings.inside != was:
            # The quote itself is outside.
            edge = at if was else at + 1
            if since < edge:
                yield since, edge, was
            since = edge
    if since < end:
        yield since, end, strings.inside


def _digitless(raw: str) -> str:
    """What stands outside of strings: its numbers become 0, everything else is the form's."""
    out: list[str] = []
    for char in raw:
        if not char.isdigit():
            out.append(char)
        elif not out or out[-1] != "0":
            out.append("0")
    return "".join(out)


def said(parts: Sequence[Piece]) -> str:
    return "".join(part.text for part in parts)
