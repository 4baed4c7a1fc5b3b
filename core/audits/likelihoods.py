"""How a text's likelihood is asked for: which tokens are given and which are scored, as lm-eval cuts them.

Source: lm-evaluation-harness 0.4.13, `TemplateLM._encode_pair` and `HFLM.loglikelihood_rolling`, so that the
same model gives the same numbers here and there.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core.audits.asking import Likelihood, Rolling
from core.catalog.tokenizer import Text
from core.errors import InvalidInput


class Cut(NamedTuple):
    """Token ids: what is given, and what is scored behind it."""

    given: list[int]
    scored: list[int]


class Told(NamedTuple):
    """Of one scored token: its log probability in nats, and whether none was likelier in its place."""

    logprob: float
    greedy: bool


def pieces(text: Text, context: str, continuation: str) -> Cut:
    """A continuation behind its context. Encoded together and cut where the context alone ends: blanks at its end
    belong to the continuation, as they do in the model's own tokens. Raises InvalidInput."""
    if not continuation:
        raise InvalidInput("A continuation is empty; give at least one character")
    if blanks := len(context) - len(context.rstrip()):
        continuation, context = context[-blanks:] + continuation, context[:-blanks]
    if not context:
        first, ids = prefix(text), text.encode(continuation, special=False)
        return Cut(ids[:1], ids[1:]) if ids[0] == first else Cut([first], ids)
    whole, given = encoded(text, context + continuation), encoded(text, context)
    if len(whole) <= len(given):
        raise InvalidInput("A continuation has no token of its own behind its context")
    return Cut(given, whole[len(given) :])


def encoded(text: Text, prompt: str) -> list[int]:
    """Token ids with the model's own marks, unless the prompt begins with one already: a rendered chat does."""
    mark = text.piece(prefix(text)).decode(errors="replace")
    return text.encode(prompt, special=not (mark and prompt.startswith(mark)))


def prefix(text: Text) -> int:
    """The token that stands for nothing before a text: its first mark, else its last."""
    found = text.start if text.start is not None else text.end
    if found is None:
        raise InvalidInput("This model's tokenizer has neither a first nor a last mark")
    return found


def fitted(cut: Cut, context: int) -> Cut:
    """Cut from the left to what the model reads with one token behind it. Raises InvalidInput when what is scored
    alone does not fit: half of it scored would be another figure."""
    room = context - 1
    if len(cut.scored) + 1 > room:
        raise InvalidInput(
            f"What is scored has {len(cut.scored)} tokens; the model reads {room} with one before them",
            code="context_length_exceeded",
        )
    return Cut((cut.given + cut.scored)[-room:][: -len(cut.scored)], cut.scored)


def windows(text: Text, ask: Rolling, context: int) -> Iterator[Cut]:
    """A whole text in windows that overlap; each token is scored once. See core.audits.asking.Rolling."""
    room = context - 1
    if ask.reading == "disjoint":
        # One token less than lm-eval's longest window: vLLM wants room for one that it writes.
        window = max(min(ask.window or room, room - 1), 1)
        yield from _disjoint(text.encode(ask.text, special=False), prefix(text), window)
        return
    ids = encoded(text, ask.text)
    window = max(min(ask.window or room, room), 2)
    # A window that begins where the last one ended would have nothing before its first token, which then nobody scores.
    stride = min(ask.stride or max(window // 2, 1), window - 1)
    scored = 1
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        if end > scored:
            at = max(scored, begin + 1)
            yield Cut(ids[begin:at], ids[at:end])
            scored = end
        if end == len(ids):
            return


def _disjoint(ids: list[int], first: int, window: int) -> Iterator[Cut]:
    """lm_eval.utils.get_rolling_token_windows with a context of one token, made disjoint."""
    whole = [first, *ids]
    for begin in range(0, len(ids), window):
        end = min(begin + window, len(ids))
        # The last one reaches back, so that it is as long as the others.
        back = max(0, end - window) if begin else 0
        yield Cut(whole[back : begin + 1], ids[begin:end])


def bytes_scored(text: Text, ask: Rolling) -> int:
    """UTF-8 bytes of what `windows` scores: all but the first token, where that is given."""
    whole = len(ask.text.encode())
    if ask.reading == "disjoint":
        return whole
    ids = encoded(text, ask.text)
    given = 0 if not ids or ids[0] in text.special else len(text.piece(ids[0]))
    return max(whole - given, 0)


def summed(told: Sequence[Told], size: int) -> Likelihood:
    """`size`: UTF-8 bytes of what was scored."""
    return Likelihood(
        sum(one.logprob for one in told), len(told), size, all(one.greedy for one in told)
    )
