"""Text as rules see it: look-alikes folded, invisible characters gone, and of each character where it came from.

    raw   "J\\u0430ne\\u200b\\uff20x.org"      \\u0430 is Cyrillic, \\uff20 a full-width @
    view  "Jane@x.org"             rules match here, and spans are of the raw text

Every character is folded by itself, so that how a text was cut into pieces cannot change what is seen. Of letters,
leet and case see core/guard/lexicon.py: an e-mail address needs its digits.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.guard.confusables import LATIN

# Drawn as nothing, though Unicode counts them as letters.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")
_NOTHING = frozenset({"Mn", "Me", "Cf"})
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HALF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")


@lru_cache(maxsize=65536)
def folded(char: str) -> str:
    """What one character looks like: plain ones for stylish ones, nothing for what is not to be seen."""
    if char.isascii():
        return char
    if char in _BLANK or unicodedata.category(char) in _NOTHING:
        return ""
    parts = unicodedata.normalize("NFKD", char)
    kept = (LATIN.get(c, c) for c in parts if unicodedata.category(c) not in _NOTHING)
    return "".join(kept)


@dataclass(frozen=True, slots=True)
class View:
    """`text`; character i of it came from the raw ones within `starts[i]`, `ends[i]`. `size`: of the raw text that
    it shows; less than all where the end may be half an escape."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    size: int

    def raw(self, begin: int, end: int) -> tuple[int, int]:
        """The raw span of view[begin:end], which is not empty."""
        return self.starts[begin], self.ends[end - 1]

    def place(self, at: int) -> int:
        """Where the raw text of view[at] begins; behind the last one: the end."""
        return self.starts[at] if at < len(self.text) else self.size


def seen(raw: str, *, escaped: bool = False, final: bool = True) -> View:
    """The view of a text; `escaped`: JSON, whose escapes stand for characters; `final`: nothing follows."""
    if raw.isascii() and not (escaped and "\\" in raw):
        return View(raw, range(len(raw)), range(1, len(raw) + 1), len(raw))
    size = len(raw)
    if escaped and not final and (half := _HALF.search(raw)) and _open(raw, half.start()):
        size = half.start()
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    while at < size:
        char, after = _unescaped(raw, at) if escaped else (raw[at], at + 1)
        for one in folded(char):
            text.append(one)
            starts.append(at)
            ends.append(after)
        at = after
    return View("".join(text), starts, ends, size)


def _open(raw: str, at: int) -> bool:
    """The backslash at `at` begins an escape and does not end one."""
    before = raw[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 0


def _unescaped(raw: str, at: int) -> tuple[str, int]:
    found = _ESCAPE.match(raw, at) if raw[at] == "\\" else None
    if found is None:
        return raw[at], at + 1
    char = chr(int(found[1], 16)) if found[1] else _SHORT.get(found[2], found[2])
    return char, found.end()
