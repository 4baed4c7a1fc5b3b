"""Log probabilities beside a guarded text: of each token, which characters it wrote, until these have left.

A token that touches a corrected span is not shown, nor what else was likely in its place: one entry stands for all
that the span takes, with the words that are said instead. Alternatives that would have said what is not to be said
are left out.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from core.guard.correcting import Piece

# Of the raw text before an alternative token, so much decides whether it would complete something.
BEFORE = 64


@dataclass(slots=True)
class Token:
    """One token and the halves of a character before it: raw[begin:end], and what is shown of them. `said`: what has
    left of it, or in its place; `hidden`: some of it was not to be said."""

    begin: int
    end: int
    shown: list[dict[str, Any]]
    said: str = ""
    hidden: bool = False


@dataclass
class Trail:
    """`hides(before, text)`: whether text is not to be said there."""

    hides: Callable[[str, str], bool]
    _tokens: deque[Token] = field(default_factory=deque)
    _half: list[dict[str, Any]] = field(default_factory=list)

    def wrote(self, begin: int, text: str, shown: Iterable[dict[str, Any]]) -> None:
        """The next token, which begins at raw[begin:]."""
        self._half += shown
        if text and self._half:
            self._tokens.append(Token(begin, begin + len(text), self._half))
            self._half = []

    def said(self, at: int, pieces: Iterable[Piece]) -> None:
        """These pieces, of a stretch that begins at raw[at:], have left."""
        for piece in pieces:
            begin, end = piece.begin + at, piece.end + at
            for token in self._tokens:
                if token.begin < end and begin < token.end:
                    token.hidden |= piece.span is not None
                    token.said += _part(piece, begin, end, token)

    def waits(self, upto: int) -> bool:
        """Something is shown once raw[:upto] has left."""
        return bool(self._tokens) and self._tokens[0].end <= upto

    def shown(self, raw: str, upto: int) -> list[dict[str, Any]]:
        """Of the tokens within raw[:upto], all of which has left."""
        out: list[dict[str, Any]] = []
        while self.waits(upto):
            token = self._tokens.popleft()
            if token.hidden:
                _stand_in(out, token.said)
            else:
                before = raw[max(0, token.begin - BEFORE) : token.begin]
                out += (self._cleared(one, before) for one in token.shown)
        return out

    def rest(self) -> list[dict[str, Any]]:
        """Halves of characters at the end of an answer have no text that could hide anything."""
        half, self._half = self._half, []
        return half

    def pending(self) -> list[list[Any]]:
        """What has not been shown, for the next attempt: the fields of its tokens; of half a character, which has no
        text, in the end."""
        tokens = [*self._tokens, *([Token(0, 0, self._half)] if self._half else [])]
        return [[t.begin, t.end, t.shown, t.said, t.hidden] for t in tokens]

    def resume(self, pending: Iterable[list[Any]]) -> None:
        tokens = [Token(*one) for one in pending]
        self._tokens.extend(t for t in tokens if t.begin < t.end)
        self._half = [one for t in tokens if t.begin == t.end for one in t.shown]

    def _cleared(self, one: dict[str, Any], before: str) -> dict[str, Any]:
        return one | {"top": [t for t in one["top"] if not self.hides(before, t["token"])]}


def _part(piece: Piece, begin: int, end: int, token: Token) -> str:
    """What is said of a piece, raw[begin:end], by this token: other words come with the one in which it begins."""
    if piece.span is not None:
        return piece.text if token.begin <= begin < token.end else ""
    return piece.text[max(begin, token.begin) - begin : min(end, token.end) - begin]


def _stand_in(out: list[dict[str, Any]], text: str) -> None:
    if out and out[-1]["id"] == -1:
        out[-1]["token"] += text
    elif text:
        out.append({"token": text, "id": -1, "logprob": 0.0, "top": []})
