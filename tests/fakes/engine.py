"""An engine without a model: each token is a function of the tokens before it, so a continued answer
equals an undisturbed one. Marks in the prompt make it misbehave.

    [hang]   stops yielding after 5 tokens     [die]    kills its own process after 5 tokens
    [crash]  raises EngineDead after 5 tokens  [error]  raises an unknown error after 5 tokens
    [... once] does so only the first time in a data folder
    [call NAME]  answers with a call of the tool NAME, as models write it

Logprobs are made up from the token and its place. An answer that must have a form is the smallest one.
With an adapter every token is another one, by the adapter's digest; one whose weights say "broken" is not loaded.
So it is with a whole model that has a variant.json, {"variant": number}; number 13 does not load.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from core.catalog import tokenizer
from core.catalog.models import Served
from core.config import Settings
from core.errors import Refused
from workers.engine import AdapterBroken, Chunk, EngineDead, Likely, Request

CALL = re.compile(r"\[call (\w+)\]")
MARK = re.compile(r"\[(hang|die|crash|error)( once)?\]")
AFTER = 5
CONTEXT = 2048


NOTHING = Chunk("", [])


def _likely(history: list[int], count: int) -> Likely:
    """Of the last token of `history`: a number that depends on it and on where it stands."""
    token = history[-1]
    logprob = -0.1 - (token * 7 + len(history)) % 50 / 10
    return Likely(token, logprob, [(token + i, logprob - i) for i in range(count)])


def smallest(form: dict[str, Any]) -> str:
    """The shortest answer of this form that we know how to write."""
    match form:
        case {"json_schema": schema}:
            return json.dumps(_instance(schema, schema), separators=(",", ":"))
        case {"choice": [first, *_]}:
            return str(first)
        case {"regex": pattern}:
            return str(pattern)
    return "{}"


def _instance(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    match schema:
        case {"$ref": pointer}:
            target: Any = root
            for name in pointer.removeprefix("#").strip("/").split("/"):
                target = target[name] if name else target
            return _instance(target, root)
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]}:
            return _instance(first, root)
    plain = {"string": "x", "integer": 7, "number": 0.5, "boolean": True, "array": [], "null": None}
    if schema.get("type", "object") in plain:
        return plain[schema["type"]]
    return {name: _instance(inner, root) for name, inner in schema.get("properties", {}).items()}


class ScriptedEngine:
    """`PENSTOCK_SCRIPTED_TOKEN_S`: seconds a token takes; `PENSTOCK_SCRIPTED_DIR`: where `once` is kept. A file
    `requests` in there gets a line of each request: when it came, and its prompt. While there is a file `mute` no
    likelihoods are told.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token_s = float(os.environ.get("PENSTOCK_SCRIPTED_TOKEN_S", "0"))
        self._dir = Path(os.environ.get("PENSTOCK_SCRIPTED_DIR", "."))
        self._moved = time.monotonic()
        self._open = 0
        self.closed = 0
        self._own = 0
        self.adapters: dict[str, int] = {}
        self.loads: list[str] = []

    async def start(self) -> Served:
        variant = Path(self._settings.model) / "variant.json"
        self._own = json.loads(variant.read_text())["variant"] if variant.exists() else 0
        if self._own == 13:
            raise Refused("scripted: this model does not load")
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
            assert not request.adapter or request.adapter in self.adapters, "not loaded"
            self._note(request)
            mark = MARK.search(self._text.decode(request.prompt))
            history = list(request.prompt)
            script = self._script(request)
            told = self._told_first(request)
            for number in range(request.max_tokens if script is None else len(script)):
                if mark is not None and number == AFTER and self._first(mark, request):
                    await self._misbehave(mark[1])
                if self._token_s:
                    await asyncio.sleep(self._token_s)
                token = self._next(request, history, number, script)
                history.append(token)
                self._moved = time.monotonic()
                last = "length" if number == request.max_tokens - 1 else None
                if script is not None and number == len(script) - 1:
                    last = last or "stop"
                likely = [] if request.logprobs is None else [_likely(history, request.logprobs)]
                yield replace(told, text=self._text.decode([token]), tokens=[token], finish=last,
                              logprobs=likely)  # fmt: skip
                told = NOTHING
                if last is not None:
                    return
        finally:
            self._open -= 1
            self.closed += 1

    def _note(self, request: Request) -> None:
        notes = self._dir / "requests"
        if notes.exists():
            line = [time.time(), self._text.decode(request.prompt)]
            with notes.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def _next(
        self, request: Request, history: list[int], number: int, script: list[int] | None
    ) -> int:
        if number < len(request.forced):
            return request.forced[number]
        if script is not None:
            return script[number]
        own = self.adapters[request.adapter] if request.adapter else self._own
        state = (
            history[-1] * 1103515245 + len(history) * 12345 + (request.seed or 0) + own
        ) & 0x7FFFFFFF
        return self._words[state % len(self._words)][0]

    def _script(self, request: Request) -> list[int] | None:
        """The whole answer, where it is not made token by token."""
        called = CALL.search(self._text.decode(request.prompt))
        if request.form is not None:
            said = smallest(request.form)
        elif called:
            said = (
                f'Well. <tool_call>{{"name": "{called[1]}", "arguments": {{"n": 1}}}}</tool_call>'
            )
        else:
            return None
        return self._text.encode(said, special=False)

    def _told_first(self, request: Request) -> Chunk:
        if request.prompt_logprobs is None or (self._dir / "mute").exists():
            return replace(NOTHING, cached=len(request.prompt) // 2)
        known: list[Likely | None] = [None] * request.scored_from
        known += [
            _likely(request.prompt[: end + 1], request.prompt_logprobs)
            for end in range(request.scored_from, len(request.prompt))
        ]
        return replace(NOTHING, prompt_logprobs=known, cached=0)

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

    async def adapt(self, digest: str, folder: Path) -> None:
        assert digest not in self.adapters, "loaded twice"
        assert len(self.adapters) < self._settings.engine_loras, "more than there is room for"
        await asyncio.sleep(0.01)
        if b"broken" in (folder / "adapter_model.safetensors").read_bytes():
            raise AdapterBroken(
                f"The adapter {digest[:12]} cannot be applied to this model: scripted"
            )
        self.loads.append(digest)
        self.adapters[digest] = int(digest[:6], 16) + 1

    async def forget(self, digest: str) -> None:
        del self.adapters[digest]

    def idle_s(self) -> float:
        return time.monotonic() - self._moved if self._open else 0.0

    async def close(self) -> None:
        """Nothing to let go."""
