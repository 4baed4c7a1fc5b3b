"""The ways on which an answer leaves: open, watched by a guard, or through it.

engine --Chunk--> Stops --Chunk--> Way.take --> ask.say, and the answer as far as it has come
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from core.guard.correcting import Piece, Strings, pieces
from core.guard.judging import Judging
from core.guard.passage import Stretch
from core.jobs.inference import InferenceSpec
from workers.answering.ask import Answer, Ask, Kept
from workers.answering.guards import Guarding
from workers.answering.likely import shown
from workers.answering.stops import singly
from workers.answering.trail import Trail
from workers.engine import Chunk

# Why an answer ended that its guard stopped, in OpenAI's words.
FILTERED = "content_filter"


class Way:
    """Open: everything leaves as it comes. `telling`: also what has no text, such as that an answer ended."""

    def __init__(self, ask: Ask, answer: Answer, *, telling: bool) -> None:
        self._ask, self._answer, self._telling = ask, answer, telling
        self._texts = [answer.text]

    async def take(self, chunk: Chunk) -> None:
        likely = [shown(self._ask.text, one) for one in chunk.logprobs]
        self._say(chunk, likely)
        self._answer.tokens += chunk.tokens
        self._answer.logprobs += likely
        self._answer.finish = chunk.finish or self._answer.finish

    def _say(self, chunk: Chunk, likely: list[dict[str, Any]]) -> None:
        if chunk.text or (self._telling and chunk.finish is not None):
            self._ask.say(chunk, self._answer.index, likely)
        self._texts.append(chunk.text)

    def close(self) -> None:
        """Also of one that is stopped: whoever goes on needs text and tokens to agree."""
        self._answer.text = "".join(self._texts)


class Watched(Way):
    """Everything leaves as it comes; what is met in it is counted when it is whole, and judged beside it."""

    def __init__(
        self, ask: Ask, answer: Answer, by: Guarding, *, telling: bool, escaped: bool
    ) -> None:
        super().__init__(ask, answer, telling=telling)
        self._by = by
        self._passage = by.guard.passage(escaped=escaped)
        self._met = list(self._passage.feed(answer.text))

    async def take(self, chunk: Chunk) -> None:
        await super().take(chunk)
        self._met += self._passage.feed(chunk.text)
        if chunk.finish is None:
            return
        self._met += self._passage.finish()
        if self._by.judging is None:
            self._note(self._met)
        else:
            self._by.beside(self._judged(self._by.judging))

    async def _judged(self, judging: Judging) -> None:
        self._note(await judging.all_judged(self._met, escaped=self._passage.escaped))

    def _note(self, met: Sequence[Stretch]) -> None:
        self._by.note(sum((_hits(one, []) for one in met), Counter()))


class Guarded(Way):
    """What the guard has cleared leaves, and nothing before."""

    def __init__(
        self, ask: Ask, answer: Answer, by: Guarding, *, telling: bool, escaped: bool, json: bool
    ) -> None:
        super().__init__(ask, answer, telling=telling)
        self._by = by
        self._passage = by.guard.passage(escaped=escaped)
        self._passage.resume(answer.raw, answer.done)
        self._strings = Strings() if json else None
        if self._strings is not None:
            self._strings.over(answer.raw[: answer.done])
        self._trail = Trail(partial(by.guard.scanner.hides, escaped=escaped))
        self._trail.resume(answer.pending)
        self._raw = [answer.raw]
        self._size = len(answer.raw)
        self._hits: Counter[tuple[str, str]] = Counter()
        # Of tokens whose text waits: they are told of with the next text.
        self._unsaid: tuple[list[int], list[str]] = ([], [])

    async def take(self, chunk: Chunk) -> None:
        # One by one: what a stopped answer costs must not depend on how busy the worker was.
        for part in singly(chunk, self._ask.text.decode) if len(chunk.tokens) > 1 else [chunk]:
            await self._part(part)
            if self._answer.finish is not None:
                return

    async def _part(self, chunk: Chunk) -> None:
        likely = [shown(self._ask.text, one) for one in chunk.logprobs]
        self._trail.wrote(self._size, chunk.text, likely)
        self._size += len(chunk.text)
        self._answer.tokens += chunk.tokens
        self._raw.append(chunk.text)
        self._unsaid[0].extend(chunk.tokens)
        self._unsaid[1].append(chunk.text)
        stretches = self._passage.feed(chunk.text)
        if chunk.finish is not None:
            stretches = [*stretches, *self._passage.finish()]
        if stretches and self._by.judging is not None:
            judged = self._by.judging.judged
            stretches = await judged(stretches, escaped=self._passage.escaped)
        # From here on nothing waits: what has left and what is kept of it stay one.
        said, stopped = self._cleared(stretches)
        self._tell(said, FILTERED if stopped else chunk.finish)

    def _cleared(self, stretches: Sequence[Stretch]) -> tuple[str, bool]:
        """What of these is said, which is now part of the answer, and whether that was its end."""
        said: list[str] = []
        stopped = False
        for stretch in stretches:
            parts = list(pieces(stretch, self._strings))
            self._hits.update(_hits(stretch, parts))
            self._trail.said(self._answer.done, parts)
            self._answer.done += len(stretch.raw)
            said += (part.text for part in parts)
            last = parts[-1].span if parts else None
            if stopped := last is not None and last.act.action == "stop":
                break
        self._texts += said
        return "".join(said), stopped

    def _tell(self, said: str, finish: str | None) -> None:
        answer = self._answer
        answer.finish = finish or answer.finish
        if finish is not None:
            self._by.note(self._hits)
        likely = self._shown(last=finish is not None and finish != FILTERED)
        answer.logprobs += likely
        if not said and not (self._telling and finish is not None):
            return
        tokens, raw = self._unsaid
        self._unsaid = ([], [])
        kept = Kept("".join(raw), answer.done, self._trail.pending())
        self._ask.keep(answer.index, kept)
        self._ask.say(Chunk(said, tokens, finish), answer.index, likely)

    def _shown(self, *, last: bool) -> list[dict[str, Any]]:
        likely: list[dict[str, Any]] = []
        if self._trail.waits(self._answer.done):
            raw = "".join(self._raw)
            self._raw = [raw]
            likely = self._trail.shown(raw, self._answer.done)
        return likely + self._trail.rest() if last else likely

    def close(self) -> None:
        super().close()
        self._answer.raw = "".join(self._raw)
        self._answer.pending = self._trail.pending()


def way(ask: Ask, spec: InferenceSpec, answer: Answer) -> Way:
    """The one that this answer takes."""
    # Whatever is said of an answer, and that it ended, must outlive an attempt while others go on.
    telling = spec.n > 1 or spec.logprobs is not None
    if ask.guard is None:
        return Way(ask, answer, telling=telling)
    form = spec.form
    json = form is not None and (form.json_schema is not None or form.json_object is not None)
    # A call that the model is free to make is JSON, too: its escapes stand for what they name.
    escaped = json or spec.tool_use.kind != "none"
    if not ask.guard.guard.enforces:
        return Watched(ask, answer, ask.guard, telling=telling, escaped=escaped)
    return Guarded(ask, answer, ask.guard, telling=telling, escaped=escaped, json=json)


def _hits(stretch: Stretch, parts: Sequence[Piece]) -> Counter[tuple[str, str]]:
    """How often each category was met in a stretch, of which these parts were said."""
    found: Counter[tuple[str, str]] = Counter()
    # A span of JSON may be several parts.
    spans = {id(part.span): part.span for part in parts if part.span is not None}
    for span in (*spans.values(), *stretch.seen):
        found.update(span.hits)
    return found
