"""One answer on its way out: what may leave now, and what must wait.

    feed("my mail is ja")   -> "my mail is "      "ja" may become an address
    feed("ne@x.org, and")   -> "[email], "        "and" may become a longer word of a list
    finish()                -> "and"

A character leaves once no rule can match a text that contains it any more, whatever follows; and a span that is not to
be said leaves as a whole or not at all. Where a cut is made is a matter of time, what is said is not: the stretches
put together are the same however the text was cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from core.guard.folding import View, seen
from core.guard.scanner import Scanner
from core.guard.sentences import ends
from core.guard.spans import Span, merged

# Looking at each token costs more than it hastens: nothing leaves inside of a word.
STEP = 20
# Where nothing is held back, a look now and then is enough.
LAZY_STEP = 512


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of the raw text that may leave, its corrections in order, and what was found and stays."""

    raw: str
    spans: tuple[Span, ...] = ()
    seen: tuple[Span, ...] = ()


@dataclass
class Passage:
    """`escaped`: the text is JSON. `sentences`: stretches are whole sentences, for who judges those. `lazy`: nobody
    waits for stretches, only for what is found."""

    scanner: Scanner
    escaped: bool = False
    sentences: bool = False
    lazy: bool = False
    # Raw characters that have left, and the last of them that rules can see.
    done: int = 0
    _before: str = ""
    _buffer: str = ""
    _looked: int = 0
    _met: dict[str, int] = field(default_factory=dict)

    def resume(self, raw: str, done: int) -> None:
        """Go on where another left off, which had let raw[:done] leave and had read all of `raw`."""
        left = raw[:done]
        # Invisible characters at its end may be many; what is seen is one of the last.
        self._before = seen(left[-4096:], escaped=self.escaped).text[-1:]
        self.done, self._buffer, self._looked = done, raw[done:], 0

    @property
    def held(self) -> str:
        return self._buffer

    def feed(self, text: str) -> list[Stretch]:
        self._buffer += text
        new = len(self._buffer) - self._looked
        if new < (LAZY_STEP if self.lazy else STEP) and (self.lazy or text.isalnum()):
            return []
        return self._taken(final=False)

    def finish(self) -> list[Stretch]:
        """The rest: nothing follows."""
        return self._taken(final=True)

    def _taken(self, *, final: bool) -> list[Stretch]:
        view = seen(self._buffer, escaped=self.escaped, final=final)
        spans, cut = self.scanner.scan(self._before, view, final=final)
        whole = merged(span for span in spans if span.act.action != "observe")
        if not final:
            for span in reversed(whole):
                if span.begin < cut < span.end:
                    cut = span.begin
        else:
            cut = len(self._buffer)
        marks = list(ends(self._buffer, cut, whole, final=final)) if self.sentences else [cut]
        out = list(self._cut(view, marks, whole, [s for s in spans if s.act.action == "observe"]))
        self._looked = len(self._buffer)
        return out

    def _cut(
        self, view: View, marks: list[int], whole: list[Span], seen_: list[Span]
    ) -> Iterator[Stretch]:
        last = marks[-1] if marks else 0
        news = list(self._news([span for span in seen_ if span.begin < last]))
        begin = 0
        for end in marks:
            if end > begin:
                here = tuple(s.moved(-begin) for s in whole if begin <= s.begin < end)
                noted = tuple(s.moved(-begin) for s in news if begin <= s.begin < end)
                yield Stretch(self._buffer[begin:end], here, noted)
                begin = end
        if begin:
            self._left(view, begin)

    def _news(self, spans: list[Span]) -> Iterator[Span]:
        """Without those that begin inside of one that was noted: a list's shorter terms, a number's later digits."""
        for span in sorted(spans, key=lambda s: (s.begin, -s.end)):
            category = span.hits[0][0]
            if self.done + span.begin >= self._met.get(category, 0):
                yield span
                self._met[category] = self.done + span.end

    def _left(self, view: View, count: int) -> None:
        visible = [i for i in range(len(view.text) - 1, -1, -1) if view.ends[i] <= count][:1]
        if visible:
            self._before = view.text[visible[0]]
        self._buffer = self._buffer[count:]
        self.done += count
