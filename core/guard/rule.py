"""A rule by pattern: what it may match is bounded, so that text need only be held back for so long.

A match is a matter of the place where it begins alone: whether a rule matches at some character depends on the one
before it and on `longest` from it on. So it does not matter where a look at a text began.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Nothing waits for longer than this.
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """`longest`: characters that a match and what it looks at behind itself have at most. `chars`: those that a match
    can hold. `opens`: matches, at a place where the rule could match, as much of its first characters as there are.
    `check`: how much of a match is sound (core/guard/checks.py). `needs`: some of these are in every match."""

    category: str
    pattern: re.Pattern[str]
    longest: int
    chars: str
    opens: re.Pattern[str]
    check: Callable[[str], int] | None = None
    needs: str = ""

    def spans(self, text: str, begin: int) -> Iterator[tuple[int, int]]:
        """Every match that begins at `begin` or later, also within one another."""
        at = begin
        while found := self.pattern.search(text, at):
            at = found.start() + 1
            size = len(found[0]) if self.check is None else self.check(found[0])
            if size:
                yield found.start(), found.start() + size

    def open_from(self, text: str, begin: int) -> int:
        """The first place from which this rule may still match once more text is there; the end: nowhere."""
        end = len(text)
        first = max(begin, end - self.longest, len(text.rstrip(self.chars)) if self.chars else 0)
        found = self.opens.search(text, first) if first < end else None
        return end if found is None else found.start()


def opening(*kinds: str) -> re.Pattern[str]:
    """Of characters given as classes, one after the other: as many of them as there are before the text ends.

    A boundary before the first one may be the first of `kinds`: a look behind, "(?<!...)"."""
    behind, classes = ("", kinds)
    if kinds and kinds[0].startswith("(?<"):
        behind, classes = kinds[0], kinds[1:]
    inner = ""
    for one in reversed(classes):
        inner = one + (rf"(?:\Z|{inner})" if inner else "")
    return re.compile(behind + inner)


def literally(text: str) -> tuple[str, ...]:
    """The classes of a text that stands for itself."""
    return tuple(map(re.escape, text))
