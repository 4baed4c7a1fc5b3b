"""Lists of terms, found however they are spelled: case, leet, letters apart, signs between them, letters held down.

    "badword"   B4dW0rd   b.a.d.w.o.r.d   b a d w o r d   bad-word   baaadword   (rot13 and backwards: severe lists)
    not         "bad words" (an s more is another word), "the rapist" of "therapist" (words, not letters, are apart)

The terms are one tree. From each place where a word begins it is walked as long as something can still come of it:
ordinary prose leaves it after two or three letters, and nothing beyond is held back.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from core.guard.folding import folded

# What is written for letters; a sign of these is a letter inside of a word and a boundary at its end.
_LEET = {
    "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g",
    "@": "a", "$": "s", "!": "i", "|": "il", "+": "t", "(": "c", "\u20ac": "e", "\u00a3": "l",
}  # fmt: skip
# Between two letters of a term stand so many other characters at most, and a whole term is at most so long.
GAP = 4
LONGEST = 512
# Doubling one letter makes another word of a short one, "lose" and "loose"; of a longer one hardly ever.
_LONG = 5
# So many letters of a word are looked at by an expression before the tree is walked.
DEPTH = 3
_ALONE = r"\u2e80-\ud7ff\uf900-\ufaff\u0e00-\u0eff"
_APART = re.compile(f"[{_ALONE}]")
# Where a word may begin. The underscore stands between words, unlike in \w.
_BOUNDARY = rf"(?:(?<![^\W_])|(?<=[{_ALONE}])|(?=[{_ALONE}]))"
# What is written for one another becomes the same, and so do "l" and "i", both of which "1" may be.
_EVEN = str.maketrans({**{c: stands[0] for c, stands in _LEET.items() if c.isdigit()}, "l": "i"})
# The beginnings of words of plain text: three letters, a word of two, a word of one, a sign that is a letter.
_PLAIN = re.compile(
    r"(?<![a-z0-9])(?:([a-z0-9]{3})|([a-z0-9]{2})(?![a-z0-9])|([a-z0-9])(?![a-z0-9])|[@$!|+(])"
)
Node = dict[str, "Node"]


@lru_cache(maxsize=65536)
def letters(char: str) -> str:
    """What a character of a view may stand for, in lower case; empty: it stands between letters."""
    own = char.lower()[0] if char.isalnum() else ""
    return own + _LEET.get(char, "")


@lru_cache(maxsize=65536)
def _alone(char: str) -> bool:
    """Of a script that puts no blanks between words."""
    return _APART.match(char) is not None


def plain(term: str) -> str:
    """A term as the tree holds it: folded, lower case, its words one blank apart."""
    shown = "".join(map(folded, term)).lower()
    return " ".join("".join(c if c.isalnum() else " " for c in shown).split())


@dataclass(frozen=True, slots=True)
class Term:
    """`text`: as given; `category` says what is done about it. `severe`: also encoded, backwards and rotated."""

    text: str
    category: str
    severe: bool = False


class Cursor(NamedTuple):
    """A place in the tree, and how the text came there. `extra`: repetitions of the last letter beyond the term's;
    `once`, `never`: letters before it that were repeated once, and not at all. `gap`: signs since the last letter,
    `blank`: with a blank among them. `word`: letters of the current word; `words`: there was a word of several;
    `apart`: blanks between letters where the term has none."""

    node: Node
    letter: str
    extra: int = 0
    once: int = 0
    never: int = 0
    gap: int = 0
    blank: bool = False
    word: int = 0
    words: bool = False
    apart: bool = False
    # The term has this letter twice: once more is three of it.
    twin: bool = False


class Tree:
    """Terms of many categories. What ends at a node is under its key "": {category: {}}."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._root: Node = {}
        # How terms begin, one for each reading: see _plainly.
        self._heads: set[str] = set()
        for term in terms:
            text = plain(term.text)
            self._add(text, term.category)
            # Backwards, a short word is often another one.
            if term.severe and len(text) >= _LONG:
                self._add(text[::-1], term.category)
                self._add(codecs.encode(text, "rot13"), term.category)
        shape = _shape(self._root, "", DEPTH) if self._root else "(?!)"
        self._begins = re.compile(_BOUNDARY + shape)

    def _add(self, text: str, category: str) -> None:
        even = text.translate(_EVEN)
        bare = even.replace(" ", "")
        first = even.partition(" ")[0]
        # A word of two letters is a term's own, or a sign follows it and then more.
        self._heads |= {bare[:1], bare[:2] + "-", bare[:3], *([first] if len(first) == 2 else [])}
        node = self._root
        for letter in text:
            node = node.setdefault(letter, {})
        node.setdefault("", {})[category] = {}

    def walked(
        self, text: str, begin: int, *, final: bool
    ) -> tuple[list[tuple[int, int, str]], int]:
        """Spans (begin, end, category) of all terms that begin at `begin` or later, and the first place from which
        one may still come once more text is there; the end: from none."""
        found: list[tuple[int, int, str]] = []
        hold = len(text)
        for at in self._starts(text, begin):
            if self._walk(text, at, found, final=final):
                hold = min(hold, at)
        return found, hold

    def _starts(self, text: str, begin: int) -> Iterator[int]:
        """Where a term may begin; more places than are needed, never fewer."""
        if not text.isascii():
            yield from (match.start() for match in self._begins.finditer(text, begin))
            return
        # Most texts are plain. Their words are looked up by how they begin, faster than by an expression.
        heads, even = self._heads, text.lower().translate(_EVEN)
        for match in _PLAIN.finditer(even, begin):
            three, two, one = match.groups()
            if three:
                if three in heads or three[0] == three[1] or three[1] == three[2]:
                    yield match.start()
            elif two:
                follows = even[match.end() : match.end() + 1]
                # At the end more letters may follow.
                own = two in heads and (not follows or follows.isspace())
                more = two + "-" in heads and not follows.isspace()
                if own or more or two[0] == two[1]:
                    yield match.start()
            elif one is None or one in heads:
                yield match.start()

    def _walk(
        self, text: str, begin: int, found: list[tuple[int, int, str]], *, final: bool
    ) -> bool:
        """Whether something may still come of this beginning at the end of the text."""
        cursors = [Cursor(self._root, "")]
        end = min(len(text), begin + LONGEST)
        for at in range(begin, end):
            char = text[at]
            standing = char.isalnum()
            after: list[Cursor] = []
            for cursor in cursors:
                if not cursor.gap and "" in cursor.node and _ends(cursor, char, standing=standing):
                    found += ((begin, at, category) for category in cursor.node[""])
                after += _steps(cursor, char, standing=standing)
            if not after:
                return False
            cursors = after if len(after) == 1 else list(_unlike(after))
        for cursor in cursors:
            if final and not cursor.gap and "" in cursor.node and _fits(cursor):
                found += ((begin, end, category) for category in cursor.node[""])
        return not final and end == len(text)


@lru_cache(maxsize=4096)
def _written(letter: str) -> str:
    """The characters of a view that may stand for a letter, for a class of an expression."""
    leet = (char for char, stands in _LEET.items() if letter in stands)
    return re.escape("".join(dict.fromkeys((letter, letter.upper()[0], letter.title()[0], *leet))))


def _shape(node: Node, letter: str, depth: int) -> str:
    """An expression, without width beyond the first character, that all spellings of what follows `node` meet."""
    below = dict(node)
    if " " in below:
        below |= below.pop(" ")
    kinds = [
        f"[{_written(one)}]" + (_shape(child, one, depth - 1) if depth > 1 else "")
        for one, child in below.items()
        if one
    ]
    if not letter:
        return f"(?={'|'.join(kinds)})"
    # The letter again, a sign between two, the end of the word.
    return f"(?:{'|'.join([*kinds, f'[{_written(letter)}]'])}|[\\W_{_ALONE}]|\\Z)"


def _steps(cursor: Cursor, char: str, *, standing: bool) -> Iterator[Cursor]:
    """Where one more character leads."""
    if not standing and cursor.letter and cursor.gap < GAP:
        blank = cursor.blank or char.isspace()
        # A blank behind a whole word is one of the term's, or the end.
        if not blank or cursor.word < 2 or " " in cursor.node:
            yield cursor._replace(gap=cursor.gap + 1, blank=blank)
    options = letters(char)
    if not options:
        return
    for here in _entered(cursor):
        if here.apart and here.word:
            continue
        word = here.word + 1
        if here.letter in options and here.letter:
            yield here._replace(extra=here.extra + 1 + here.twin, word=word)
        for option in options:
            node = here.node.get(option)
            if node is not None:
                yield Cursor(
                    node, option, 0, here.once + (here.extra == 1),
                    here.never + (here.extra == 0 and here.letter != ""), 0, False, word, here.words, here.apart,
                    option == here.letter,
                )  # fmt: skip


def _entered(cursor: Cursor) -> Iterator[Cursor]:
    """The cursor before a letter that may be its next: over what stood between, and over the term's own blanks."""
    own = cursor.node.get(" ")
    if not cursor.gap:
        yield cursor
        if own is not None:
            yield cursor._replace(node=own, letter=" ")
        return
    words = cursor.words or cursor.word > 1
    if own is not None:
        # A word of the term is over: the next may be spelled another way.
        yield cursor._replace(
            node=own, letter=" ", gap=0, blank=False, word=0, words=False, apart=False
        )
    if not (words and (cursor.blank or cursor.apart)):
        yield cursor._replace(
            gap=0, blank=False, word=0, words=words, apart=cursor.apart or cursor.blank
        )


def _ends(cursor: Cursor, char: str, *, standing: bool) -> bool:
    """The word is over where the term is."""
    return _fits(cursor) and (not standing or _alone(char) or _alone(cursor.letter))


def _fits(cursor: Cursor) -> bool:
    """Held-down letters: three of one and more always; twice where all are, or where the word is long."""
    once = cursor.once + (cursor.extra == 1)
    never = cursor.never + (cursor.extra == 0)
    return not once or not never or once + never >= _LONG


def _unlike(cursors: list[Cursor]) -> Iterator[Cursor]:
    """Each place once: two ways to it are the same from there on."""
    known = set()
    for cursor in cursors:
        mark = (id(cursor.node), *cursor[1:])
        if mark not in known:
            known.add(mark)
            yield cursor
