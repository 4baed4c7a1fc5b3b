"""What a rule found: a span of the raw text, and what is done about it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

# What may be done about a category, the strongest last.
Action = Literal["observe", "mask", "rewrite", "stop"]
STRENGTH: dict[str, int] = {"observe": 0, "mask": 1, "rewrite": 2, "stop": 3}


@dataclass(frozen=True, slots=True)
class Act:
    """`text`: what stands in the place of a span that is masked or rewritten."""

    action: Action
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """raw[begin:end]. `hits`: the categories that were found in it, each with its action."""

    begin: int
    end: int
    act: Act
    hits: tuple[tuple[str, Action], ...]

    def moved(self, by: int) -> "Span":
        return replace(self, begin=self.begin + by, end=self.end + by)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans that overlap become one, with the strongest action and, of several, that which began first."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.begin, -s.end, -STRENGTH[s.act.action], s.hits)):
        if not out or span.begin >= out[-1].end:
            out.append(span)
            continue
        first = out[-1]
        act = max(first.act, span.act, key=lambda a: STRENGTH[a.action])
        hits = tuple(dict.fromkeys(first.hits + span.hits))
        out[-1] = Span(first.begin, max(first.end, span.end), act, hits)
    return out
