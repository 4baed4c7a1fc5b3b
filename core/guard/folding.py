"""Text as rules see it: look-alikes folded, invisible characters gone, and of each character where it came from.

    raw   "J\\u0430ne\\u200b\\uff20x.org"      \\u0430 is Cyrillic, \\uff20 a full-width @
    view  "Jane@x.org"             rules match here, and spans are of the raw text

Every character is folded by itself, and half an entity waits for its other half, so that how a text was cut into
pieces cannot change what is seen. Of leet and case see core/guard/lexicon.py: an e-mail address needs its digits.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from html.entities import html5

from core.guard.confusables import LATIN

# Drawn as nothing, though Unicode counts them as letters.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")
# Nor are those drawn that Unicode keeps for later and calls ignorable (DerivedCoreProperties.txt, 15.0).
_IGNORABLE = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")
# Halves of a character without the other, "Cs", are no text, and UTF-8 has no way to write them.
_NOTHING = frozenset({"Mn", "Me", "Cf", "Cc", "Cs"})
_SPACES = frozenset("\t\n\v\f\r")
# In plain text, what is not what it looks like: invisible controls, and the beginning of an entity.
_ODD = re.compile(r"[&\x00-\x08\x0e-\x1f\x7f]")
_ESCAPE = re.compile(
    r"\\(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<code>[0-9a-fA-F]{4})|(?P<short>.))",
    re.DOTALL,
)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
# As CommonMark reads them, whose renderers show an answer.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|(?P<name>[A-Za-z][A-Za-z0-9]{1,31}));")
_HALF = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)?\Z"
)
_HALF_ENTITY = re.compile(r"&(?:#(?:[0-9]{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z][A-Za-z0-9]{0,31})?\Z")


@lru_cache(maxsize=65536)
def folded(char: str) -> str:
    """What one character looks like: plain ones for stylish ones, nothing for what is not to be seen."""
    if char in _SPACES:
        return char
    if char in _BLANK or unicodedata.category(char) in _NOTHING or _IGNORABLE.match(char):
        return ""
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFKD", char)
    return "".join(map(_latin, (c for c in parts if unicodedata.category(c) not in _NOTHING)))


def _latin(char: str) -> str:
    """Digits of any script are digits."""
    digit = unicodedata.digit(char, None)
    return LATIN.get(char, char) if digit is None else str(digit)


@dataclass(frozen=True, slots=True)
class View:
    """`text`; character i of it came from the raw ones within `starts[i]`, `ends[i]`. `size`: of the raw text that
    it shows; less than all where the end may be half an escape or entity."""

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
    """The view of a text, in which entities of HTML stand for characters; `escaped`: JSON, whose escapes do, too;
    `final`: nothing follows."""
    if raw.isascii() and not (escaped and "\\" in raw) and not _ODD.search(raw):
        return View(raw, range(len(raw)), range(1, len(raw) + 1), len(raw))
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at, size = 0, len(raw)
    while at < size:
        if not final and _unfinished(raw, at, escaped=escaped):
            size = at
            break
        chars, after = _read(raw, at, escaped=escaped)
        for one in "".join(map(folded, chars)):
            text.append(one)
            starts.append(at)
            ends.append(after)
        at = after
    return View("".join(text), starts, ends, size)


def _unfinished(raw: str, at: int, *, escaped: bool) -> bool:
    """What begins here may become an escape or an entity."""
    if raw[at] == "&":
        return _HALF_ENTITY.match(raw, at) is not None
    return escaped and raw[at] == "\\" and _HALF.match(raw, at) is not None


def _read(raw: str, at: int, *, escaped: bool) -> tuple[str, int]:
    """The characters that stand here, and where the next ones do."""
    if raw[at] == "&" and (found := _ENTITY.match(raw, at)):
        name = found["name"]
        said = html5.get(f"{name};", "") if name else unescape(found[0])
        return (said, found.end()) if said else (raw[at], at + 1)
    if escaped and raw[at] == "\\" and (found := _ESCAPE.match(raw, at)):
        return _unescaped(found), found.end()
    return raw[at], at + 1


def _unescaped(found: re.Match[str]) -> str:
    if found["high"]:
        # One character beyond the first 65536, in two halves.
        high, low = int(found["high"], 16), int(found["low"], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    return (
        chr(int(found["code"], 16)) if found["code"] else _SHORT.get(found["short"], found["short"])
    )
