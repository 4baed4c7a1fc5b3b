"""Which sentences a classifier is shown, by likeness to examples: a router, never a judge.

Likeness finds what is about the same things, "how do I kill a process" too: so it is held against contrasting examples,
and what it lets by is only spared the classifier, never cleared of the other rules. Where there is no vector there is
no likeness, and the sentence is shown.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from core.errors import Unavailable
from core.guard.settings import Router
from core.guard.vectors import Rows

log = structlog.get_logger(__name__)

# (texts, dimensions): what an embedding model of the platform gives; NaN for a text that it cannot read.
Embed = Callable[[Sequence[str]], Awaitable[Rows]]
# After so long is tried again to have the examples' vectors.
AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Known:
    """(examples, dimensions) and (contrasting ones, dimensions), all of length 1."""

    examples: Rows
    contrast: Rows


@dataclass
class Similarity:
    """One guard's router. The vectors of its examples are made once, beside everything else: a hundred of them take
    seconds, and no sentence has so much time."""

    wanted: Router
    embed: Embed
    again_s: float = AGAIN_S
    _known: Known | None = None
    _preparing: "asyncio.Task[None] | None" = field(default=None, repr=False)
    _again_at: float = 0.0

    async def looks(self, sentences: Sequence[str]) -> list[bool]:
        """Of each sentence whether it is to be shown. Raises Unavailable until the examples' vectors are there, and
        what `embed` raises."""
        if self._known is None:
            self.begin()
            raise Unavailable("The vectors of the router's examples are not there yet")
        alike = _alike(_unit(await self.embed(sentences)), self._known)
        if len(alike) != len(sentences):
            raise Unavailable("There is not one vector for each sentence")
        # Said so that what is no number is shown.
        return [not below for below in alike < self.wanted.threshold]

    async def prepare(self) -> None:
        """Have the vectors of the examples made. Raises what `embed` raises, Unavailable for one that has none."""
        examples = self.wanted.examples
        rows = _unit(await self.embed([*examples, *self.wanted.contrast]))
        if not np.isfinite(rows).all():
            raise Unavailable("An example of the router has no vector")
        self._known = Known(rows[: len(examples)], rows[len(examples) :])

    def begin(self) -> None:
        """Have the examples' vectors made while everything else goes on, unless that is under way or has just
        failed."""
        under_way = self._preparing is not None and not self._preparing.done()
        if under_way or time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + self.again_s
        self._preparing = asyncio.create_task(self._prepared())

    async def begun(self) -> None:
        """Wait for what `begin` began, however it ends."""
        if self._preparing is not None:
            await self._preparing

    async def _prepared(self) -> None:
        try:
            await self.prepare()
        except Exception as error:
            log.warning(
                "a router has no examples; all is shown", error=repr(error), again_s=AGAIN_S
            )


def _unit(rows: Rows) -> Rows:
    """Of length 1; NaN for what has no length."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _alike(rows: Rows, known: Known) -> Rows:
    """The cosine of each to the nearest example, halved for what is nearer to a contrasting one: that is shown only
    when it is very like the other, too."""
    alike: Rows = (rows @ known.examples.T).max(axis=1)
    if len(known.contrast):
        alike = np.where((rows @ known.contrast.T).max(axis=1) > alike, alike / 2, alike)
    return alike
