"""Which sentences a classifier is shown, by likeness to examples: a router, never a judge.

Likeness finds what is about the same things, "how do I kill a process" too: so it is held against contrasting examples,
and what it lets by is only spared the classifier, never cleared of the other rules.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.guard.settings import Router

# A vector of length 1 for each text: what an embedding model of the platform gives.
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]


@dataclass
class Similarity:
    """`looks` says of each sentence whether it is to be shown. Raises what `embed` raises."""

    wanted: Router
    embed: Embed
    _examples: "np.ndarray | None" = field(default=None, repr=False)
    _contrast: "np.ndarray | None" = field(default=None, repr=False)

    async def looks(self, sentences: Sequence[str]) -> list[bool]:
        if self._examples is None:
            self._examples = np.asarray(await self.embed(self.wanted.examples))
            contrast = self.wanted.contrast
            self._contrast = np.asarray(await self.embed(contrast)) if contrast else None
        vectors = np.asarray(await self.embed(sentences))
        alike = (vectors @ self._examples.T).max(axis=1)
        if self._contrast is not None:
            # What is more like the harmless is not shown, unless it is very like the other, too.
            alike = np.where((vectors @ self._contrast.T).max(axis=1) > alike, alike / 2, alike)
        return [bool(one) for one in alike >= self.wanted.threshold]
