"""An engine without a model: each token is a function of the tokens before it, so a continued answer
equals an undisturbed one. Marks in the prompt make it misbehave.

    [hang]   stops yielding after 5 tokens     [die]    kills its own process after 5 tokens
    [crash]  raises EngineDead after 5 tokens  [error]  raises an unknown error after 5 tokens
    [... once] does so only the first time in a data folder
"""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncGenerator
from functools import cached_property
from pathlib import Path

from core.catalog import tokenizer
from core.catalog.models import Served
from core.config import Settings
from workers.engine import Chunk, EngineDead, Request

MARK = re.compile(r"\[(hang|die|crash|error)( once)?\]")
AFTER = 5
CONTEXT = 2048


class ScriptedEngine:
    """`PENSTOCK_SCRIPTED_TOKEN_S`: seconds a token takes; `PENSTOCK_SCRIPTED_DIR`: where `once` is kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token_s = float(os.environ.get("PENSTOCK_SCRIPTED_TOKEN_S", "0"))
        self._dir = Path(os.environ.get("PENSTOCK_SCRIPTED_DIR", "."))
        self._moved = time.monotonic()
        self._open = 0
        self.closed = 0

    async def start(self) -> Served:
        return Served(self._settings.served_name, self._settings.model, CONTEXT)

    @cached_property
    def _text(self) -> tokenizer.Text:
        return tokenizer.load(self._settings.model)

    @cached_property
    def _words(self) -> list[tuple[int, str]]:
        """Tokens that are plain words of their own, so that text and tokens never disagree."""
        words = [(i, self._text.decode([i])) for i in range(300, 1200)]
        return [(i, w) for i, w in words if w.strip().isalpha() and w.isascii()]

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        self._moved = time.monotonic() if self._open == 0 else self._moved
        self._open += 1
        try:
            mark = MARK.search(self._text.decode(request.prompt))
            history = list(request.prompt)
            for number in range(request.max_tokens):
                if mark is not None and number == AFTER and self._first(mark, request):
                    await self._misbehave(mark[1])
                if self._token_s:
                    await asyncio.sleep(self._token_s)
                state = (history[-1] * 1103515245 + len(history) * 12345) & 0x7FFFFFFF
                token, word = self._words[state % len(self._words)]
                history.append(token)
                self._moved = time.monotonic()
                last = number == request.max_tokens - 1
                yield Chunk(word, [token], "length" if last else None)
        finally:
            self._open -= 1
            self.closed += 1

    def _first(self, mark: "re.Match[str]", request: Request) -> bool:
        if not mark[2]:
            return True
        try:
            (self._dir / f"once-{request.id.partition('-')[0]}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    async def _misbehave(self, how: str) -> None:
        match how:
            case "hang":
                await asyncio.Event().wait()
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                raise EngineDead("scripted")
            case "error":
                raise RuntimeError("scripted")

    def idle_s(self) -> float:
        return time.monotonic() - self._moved if self._open else 0.0

    async def close(self) -> None:
        """Nothing to let go."""
