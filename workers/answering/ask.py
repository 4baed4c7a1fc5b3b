"""Who asks, and an answer as far as it has come."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.catalog.models import Served
from core.catalog.prices import FREE, Prices
from core.catalog.tokenizer import Text
from workers.answering.guards import Guarding
from workers.engine import Chunk, Engine


@dataclass(frozen=True, slots=True)
class Kept:
    """What the next attempt must know of what is said next: all of the model's own text in it, how many characters
    of the whole have left, and the log probabilities that wait (workers/answering/trail.py)."""

    raw: str
    done: int
    pending: list[list[Any]]


def _nothing(_index: int, _kept: Kept) -> None:
    """Nobody goes on where this stops."""


@dataclass
class Ask:
    """Who asks, and who hears of it. `request_id`: unlike every one the engine may still hold.

    `say(chunk, index, logprobs)`: more of an answer; `alive()`: the engine gave something. `prices`: what a cap
    on the cost reckons with. `adapter`: what the engine puts on top of its model. `guard`: what all that is said
    goes by; `keep(index, kept)`: called before `say` by one that holds text back.
    """

    id: str
    request_id: str
    tenant_id: str
    engine: Engine
    model: Served
    text: Text
    say: Callable[[Chunk, int, list[dict[str, Any]]], None]
    alive: Callable[[], None]
    prices: Prices = FREE
    adapter: str = ""
    guard: Guarding | None = None
    keep: Callable[[int, Kept], None] = _nothing


@dataclass
class Answer:
    """One of a job's answers, as far as it has come. Of one that a guard may hold back, `raw` is what the model
    wrote, of which the first `done` characters have left as `text`."""

    index: int
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    raw: str = ""
    done: int = 0
    pending: list[list[Any]] = field(default_factory=list)
