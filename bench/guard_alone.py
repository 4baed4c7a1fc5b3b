"""The engine of a worker under three guards, in one process and in turns: none, one that watches, one that enforces.

Says READY, then answers each wish, {"mode", "prompts", "max_tokens", "mark"}, with a line of numbers. What is measured
is the worker's own way from the engine to `say`; with "walk" no engine is asked: what a guard costs beside nothing.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import uvloop

from core.catalog import tokenizer
from core.catalog.models import Served
from core.config import Settings
from core.guard.guard import compiled
from core.guard.settings import GuardSettings
from core.jobs.inference import InferenceSpec
from workers.answering.answer import Answer, Ask, Prompt, answered
from workers.answering.guards import Guarding
from workers.engine import Chunk, Request
from workers.vllm_engine import VllmEngine

# As many terms as a list of slurs has, spelled like words that nobody says.
TERMS = [f"{a}{b}{c}" for a in ("bla", "dro", "fli", "gru", "kre") for b in ("go", "mi", "nu", "ta", "ve")
         for c in ("rb", "lk", "ns", "pt", "xt", "zd", "mp", "rf")]  # fmt: skip
SETTINGS: dict[str, Any] = {
    "lexicons": [{"category": "slur", "terms": TERMS, "severe": True}],
    "patterns": [{"category": "staff", "pattern": r"EMP-\d{6}"}],
}


class Reciting:
    """An engine that has its answer ready: what is left is the worker, and the guard."""

    def __init__(self, text: tokenizer.Text) -> None:
        line = "The river ran down to the sea, and nobody in the village knew where its water had come from. "
        self._tokens = text.encode(line * 40, special=False)
        self._words = [text.decode([token]) for token in self._tokens]

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        count = min(request.max_tokens, len(self._tokens))
        for at in range(count):
            yield Chunk(self._words[at], [self._tokens[at]], "length" if at == count - 1 else None)


def guarding(mode: str) -> Guarding | None:
    guard = compiled(GuardSettings.model_validate(SETTINGS | {"mode": mode}))
    return None if guard is None else Guarding(guard, None, _noted)


def _noted(_hits: Counter[tuple[str, str]]) -> None:
    """Counts are written once a second, whatever the answers were."""


async def turn(
    engine: Any, text: tokenizer.Text, model: Served, by: Guarding | None, wish: dict[str, Any]
) -> dict[str, Any]:
    """`first_s`: from the prompt's text to the first `say`."""
    first: list[float] = []
    tokens = 0

    async def one(number: int, prompt: str) -> None:
        nonlocal tokens
        began, heard = time.perf_counter(), False

        def say(_chunk: Chunk, _index: int, _likely: list[dict[str, Any]]) -> None:
            nonlocal heard
            if not heard:
                heard = True
                first.append(time.perf_counter() - began)

        name = f"{wish['mark']}-{number}"
        ask = Ask(name, name, "bench", engine, model, text, say, lambda: None, guard=by)
        spec = InferenceSpec(
            prompt=prompt, max_tokens=wish["max_tokens"], temperature=0.0, ignore_eos=True
        )
        told = Prompt(tokenizer.prompt_ids(text, {"prompt": prompt}))
        _, usage = await answered(ask, spec, told, [Answer(0)])
        tokens += usage["completion_tokens"]

    began = time.perf_counter()
    await asyncio.gather(*(one(i, p) for i, p in enumerate(wish["prompts"])))
    return {"tokens": tokens, "seconds": time.perf_counter() - began, "first_s": first}


async def main() -> None:
    settings = Settings(_env_file=None)
    engine, text = VllmEngine(settings), tokenizer.load(settings.model)
    model = await engine.start()
    modes = {mode: guarding(mode) for mode in ("off", "observe", "enforce")}
    reciting = Reciting(text)
    print("READY", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        wish = json.loads(line)
        used = reciting if wish.get("walk") else engine
        print(json.dumps(await turn(used, text, model, modes[wish["mode"]], wish)), flush=True)
    await engine.close()


if __name__ == "__main__":
    uvloop.run(main())
