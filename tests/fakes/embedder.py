"""An embedder without a model: texts point where their words do, so that texts with the same words are alike.

Its tokenizer is rill's. `[die]`, `[error]` and `[slow]` in a text make it kill its own process once, fail, or take
a second.
"""

import asyncio
import hashlib
import math
import os
import signal
from array import array
from collections.abc import Sequence
from pathlib import Path

from core.catalog import tokenizer
from core.catalog.models import MEASURES, Served
from core.config import Settings

DIMENSIONS = 64
CONTEXT = 256


class ScriptedEmbedder:
    """`PENSTOCK_SCRIPTED_DIR`: where it is kept that it has died. `calls`: texts of each pass."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dir = Path(os.environ.get("PENSTOCK_SCRIPTED_DIR", "."))
        self.calls: list[int] = []

    async def start(self) -> Served:
        name, source = self._settings.embedding_served_name, self._settings.embedding_source
        return Served(
            name, source, CONTEXT, kind=MEASURES, dimensions=DIMENSIONS,
            truncates=self._settings.embedding_truncates,
        )  # fmt: skip

    async def embed(self, texts: Sequence[Sequence[int]]) -> list[bytes]:
        self.calls.append(len(texts))
        said = [tokenizer.load(self._settings.embedding_source).decode(list(ids)) for ids in texts]
        if any("[die]" in text for text in said) and not (self._dir / "embedder-died").exists():
            (self._dir / "embedder-died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if any("[error]" in text for text in said):
            raise RuntimeError("scripted")
        if any("[slow]" in text for text in said):
            await asyncio.sleep(1)
        return [vector(text) for text in said]

    def idle_s(self) -> float:
        return 0.0

    async def close(self) -> None:
        """Nothing to let go."""


def vector(text: str) -> bytes:
    """The sum of a direction for each word, of length 1."""
    total = [0.0] * DIMENSIONS
    for word in text.lower().split():
        digest = hashlib.sha512(word.encode()).digest()
        total = [t + (byte - 127.5) for t, byte in zip(total, digest, strict=True)]
    length = math.sqrt(sum(x * x for x in total)) or 1.0
    return array("f", (x / length for x in total)).tobytes()
