"""The engine seam: what a worker needs of anything that turns prompt tokens into text."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from core.catalog.models import Served
from core.errors import Retryable


class EngineDead(Retryable):
    """The engine is gone for good; the worker process hands its jobs back and ends."""

    code = "engine_dead"


@dataclass(frozen=True, slots=True)
class Request:
    """`prompt`: token ids, with what earlier attempts generated at their end.

    `scope`: cached prefixes are shared within one, never across.
    """

    id: str
    prompt: list[int]
    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one or more engine steps added. `finish`: stop or length with the last chunk."""

    text: str
    tokens: list[int]
    finish: str | None = None


class Engine(Protocol):
    """One loaded model that runs many requests at once."""

    async def start(self) -> Served:
        """Load the model; seconds to minutes. Raises when it cannot be served."""

    def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Chunks until the request ends; closing the generator drops the request at once.

        Raises EngineDead, Refused for a request this engine can never serve.
        """

    def idle_s(self) -> float:
        """Seconds since the engine last made progress on any request; 0 when it has none."""

    async def close(self) -> None: ...
