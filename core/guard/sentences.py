"""Where sentences end: what a classifier is asked about."""

import re
from collections.abc import Iterator, Sequence

from core.guard.spans import Span

# A sentence ends behind the blank that follows its mark, or with its line. CJK marks need no blank.
_END = re.compile(r"[.!?\u2026][\"')\]\u201d\u2019]*\s|\n|[\u3002\uff01\uff1f]")
# One that does not end is cut at the last blank before this many characters, or there.
MOST = 400


def ends(text: str, cut: int, spans: Sequence[Span], *, final: bool) -> Iterator[int]:
    """The ends of the sentences within text[:cut], `final`: the last of them may be unfinished. No span is cut."""
    begin = 0
    while begin < cut:
        end = _next(text, begin, spans)
        if end is None or end > cut:
            break
        yield end
        begin = end
    if final and begin < cut:
        yield cut


def _next(text: str, begin: int, spans: Sequence[Span]) -> int | None:
    limit = begin + MOST
    for found in _END.finditer(text, begin, limit):
        if not any(span.begin < found.end() < span.end for span in spans):
            return found.end()
    if len(text) < limit:
        return None
    at = text.rfind(" ", begin + 1, limit) + 1 or limit
    inside = [span.end for span in spans if span.begin < at < span.end]
    return max(inside, default=at)
