"""Stop strings over a stream: text leaves only in whole tokens, and never past a stop string.

The engine gets no stop strings: it would cut text inside a token, and then an attempt could not be
continued from its token ids.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from workers.engine import Chunk, Likely


@dataclass
class Stops:
    """Feed chunks, get chunks back; held ones may still turn out to begin a stop string.

    `decode`: text of token ids. A busy worker gets several tokens as one chunk; with it they are looked at
    one by one, so that the answer and what it costs do not depend on how busy the worker was.
    """

    stop: list[str]
    decode: Callable[[list[int]], str] | None = None
    _held: list[Chunk] = field(default_factory=list)

    def feed(self, chunk: Chunk) -> list[Chunk]:
        """What may leave now. The last chunk has `finish` set, also when a stop string was found."""
        parts = singly(chunk, self.decode) if self.stop and self.decode else [chunk]
        out: list[Chunk] = []
        for part in parts:
            out += self._take(part)
            if out and out[-1].finish is not None:
                break
        return out

    def _take(self, chunk: Chunk) -> list[Chunk]:
        self._held = _joined([*self._held, chunk])
        text = "".join(c.text for c in self._held)
        cut = min((at for s in self.stop if (at := text.find(s)) >= 0), default=-1)
        if cut >= 0:
            tokens = [t for c in self._held for t in c.tokens]
            likely = _told(self._held, cut)
            self._held = []
            return [Chunk(text[:cut], tokens, "stop", likely)]
        if chunk.finish is not None:
            out, self._held = self._held, []
            return out
        keep = self._begins(text)
        out = []
        while self._held and self._held[0].text and len(text) - len(self._held[0].text) >= keep:
            text = text[len(self._held[0].text) :]
            out.append(self._held.pop(0))
        return out

    def _begins(self, text: str) -> int:
        """How many characters at the end of `text` are the beginning of a stop string."""
        longest = max((len(s) for s in self.stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(s.startswith(text[-size:]) for s in self.stop):
                return size
        return 0


def _told(chunks: list[Chunk], cut: int) -> list[Likely]:
    """Of the tokens whose text begins before `cut`: a client reads no probabilities of text it lacks."""
    out: list[Likely] = []
    at = 0
    for chunk in chunks:
        if at >= cut:
            break
        out += chunk.logprobs
        at += len(chunk.text)
    return out


def singly(chunk: Chunk, decode: Callable[[list[int]], str]) -> list[Chunk]:
    """The chunk token by token. Where a token's text cannot be told apart it comes with a later one's."""
    out: list[Chunk] = []
    said = ""
    for count, token in enumerate(chunk.tokens, 1):
        last = count == len(chunk.tokens)
        text = chunk.text if last else decode(chunk.tokens[:count])
        # Half a character, or a tokenizer that drops the blank before the first word.
        if not (chunk.text.startswith(text) and text.startswith(said)):
            text = said
        likely = chunk.logprobs[count - 1 : count]
        out.append(Chunk(text[len(said) :], [token], chunk.finish if last else None, likely))
        said = text
    return out or [chunk]


def _joined(chunks: list[Chunk]) -> list[Chunk]:
    """A chunk without text is half a character: its tokens leave with the chunk after it.

    Alone they would not be said, and the next attempt would go on from tokens that lack them.
    """
    out: list[Chunk] = []
    for chunk in chunks:
        if out and not out[-1].text:
            half = out.pop()
            likely = half.logprobs + chunk.logprobs
            out.append(Chunk(chunk.text, half.tokens + chunk.tokens, chunk.finish, likely))
        else:
            out.append(chunk)
    return out
