"""An engine that answers at once, so that what is left to measure is the platform."""

from collections.abc import AsyncGenerator

from core.catalog.models import Served
from core.config import Settings
from workers.engine import Chunk, Request


class NoopEngine:
    """One token, no work. See workers.engine.Engine for the contract."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def start(self) -> Served:
        return Served(self._settings.served_name, self._settings.model, 2048)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        yield Chunk("ok", [request.prompt[-1]], "stop")

    def idle_s(self) -> float:
        return 0.0

    async def close(self) -> None:
        """Nothing to let go."""
