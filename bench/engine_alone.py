"""The limit of figures 3 and 4: the worker's own engine class, fed directly in a process of its own.

Says READY, then answers each wish on a line of its input with a line of numbers. A wish may name adapters, digest and
folder, which its requests then take in turn.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from core.catalog import tokenizer
from core.config import Settings
from workers.engine import Request
from workers.vllm_engine import VllmEngine


async def turn(engine: VllmEngine, text: tokenizer.Text, wish: dict[str, Any]) -> dict[str, Any]:
    """All prompts, `concurrency` at once; `first_s` is from the prompt's text to its first output."""
    adapters: list[list[str]] = wish.get("adapters") or [["", ""]]
    for digest, folder in wish.get("adapters", []):
        await engine.adapt(digest, Path(folder))
    waiting = list(enumerate(wish["prompts"]))
    first: list[float] = []
    tokens = 0

    async def one() -> None:
        nonlocal tokens
        while waiting:
            number, prompt = waiting.pop(0)
            began, seen = time.perf_counter(), False
            request = Request(
                # A scope of its own a turn: the platform's side has a tenant of its own, too.
                id=f"{wish['mark']}-{number}", prompt=tokenizer.prompt_ids(text, {"prompt": prompt}),
                max_tokens=wish["max_tokens"], temperature=0.0, top_k=50, top_p=0.95, seed=None,
                scope="bench", ignore_eos=wish.get("ignore_eos", False),
                adapter=adapters[number % len(adapters)][0],
            )  # fmt: skip
            async for chunk in engine.generate(request):
                if not seen and chunk.text:
                    seen = True
                    first.append(time.perf_counter() - began)
                tokens += len(chunk.tokens)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(wish["concurrency"])))
    return {"first_s": first, "tokens": tokens, "seconds": time.perf_counter() - began}


async def main() -> None:
    settings = Settings(_env_file=None)
    engine, text = VllmEngine(settings), tokenizer.load(settings.model)
    await engine.start()
    print("READY", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await turn(engine, text, json.loads(line))), flush=True)
    await engine.close()


if __name__ == "__main__":
    uvloop.run(main())
