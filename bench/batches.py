"""Figure 6: a batch of 2,000 lines through the API, beside the same prompts in vLLM's own LLM.generate, and fed to
the worker's engine."""

import asyncio
import json
import os
import statistics
from typing import Any

import psycopg

from bench.engine import OF_ENGINE, Beside, Peer
from bench.figure import Figure, ratio, spread
from bench.prompts import prompts
from core.ids import new_id
from tests.rig import Rig

LINES, TOKENS, WIDTH = 2000, 64, 64
# As the worker has its engine (workers/vllm_engine.py), in one process: read by vLLM as it is imported.
IN_PROCESS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1)),
}
TOOK = """SELECT extract(epoch FROM completed_at - created_at)::float8, completed, completion_tokens
          FROM batches WHERE id = %s AND status = 'completed'"""


def body(prompt: str, tokens: int) -> dict[str, Any]:
    """Both sides make exactly `tokens`: ignore_eos, and what the bare engine is asked for."""
    return {
        "model": "rill", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "top_k": 50,
        "top_p": 0.95, "ignore_eos": True,
    }  # fmt: skip


async def submit(client: Any, asked: list[str], tokens: int) -> str:
    """Upload the lines and make a batch of them; returns its id."""
    path = "/v1/completions"
    lines = [
        {"custom_id": f"{n}", "method": "POST", "url": path, "body": body(prompt, tokens)}
        for n, prompt in enumerate(asked)
    ]
    raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = await client.post(
        "/v1/files", files={"file": ("in.jsonl", raw)}, data={"purpose": "batch"}
    )
    wish = {"input_file_id": file.raise_for_status().json()["id"], "endpoint": path,
            "completion_window": "24h"}  # fmt: skip
    made = await client.post("/v1/batches", json=wish)
    return str(made.raise_for_status().json()["id"])


async def through(rig: Rig, key: str, wish: dict[str, Any]) -> dict[str, Any]:
    """From POST /v1/batches, validation included, to the commit that names the output file."""
    async with (
        rig.client(key) as client,
        await psycopg.AsyncConnection.connect(
            rig.stack.env()["DATABASE_URL"], autocommit=True
        ) as truth,
    ):
        batch = await submit(client, wish["prompts"], wish["max_tokens"])
        # Asked of Postgres, which costs little; a reader of the stream would be load of its own.
        while (row := await (await truth.execute(TOOK, (batch,))).fetchone()) is None:  # noqa: ASYNC110 - see the line above
            await asyncio.sleep(0.1)
        seconds, completed, tokens = row
        assert completed == len(wish["prompts"]), f"{completed} lines"
        return {"tokens": tokens, "seconds": seconds}


def measure(rig: Rig, *, rounds: int = 3) -> Figure:
    """`rig` has its stack started."""
    both = Beside(rig, WIDTH)
    peer = Peer("bench.generate_alone", rig.environment | IN_PROCESS)
    peers: list[float] = []
    alone: list[float] = []
    whole: list[float] = []
    for turn in range(rounds + 1):
        # The first is for warming up and short; each has prompts of its own: no prefix of another's.
        asked = prompts(LINES if turn else 200, f"{turn} {new_id('m')[-6:]} ")
        wish = {
            "concurrency": WIDTH, "prompts": asked, "max_tokens": TOKENS, "ignore_eos": True,
        }  # fmt: skip
        p, a, b = peer.ask(wish), both.engine(wish), both.platform(wish, through)
        made = {one["tokens"] for one in (p, a, b)}
        assert made == {len(asked) * TOKENS}, made
        speeds = [one["tokens"] / one["seconds"] for one in (p, a, b)]
        print(f"  {turn}: LLM.generate, engine, batch: {', '.join(f'{x:.0f}' for x in speeds)}")
        if turn:
            for kept, speed in zip((peers, alone, whole), speeds, strict=True):
                kept.append(speed)
    both.end()
    peer.end()
    of_peer, of_engine = ratio(whole, peers), ratio(whole, alone)
    middle = statistics.median(of_peer)
    return Figure(
        "batches",
        f"6. Output tokens a second of a batch of {LINES:,} lines",
        ("", "tokens/s"),
        [
            ("`LLM.generate`", spread(peers)), ("the worker's engine fed directly", spread(alone)),
            ("POST /v1/batches", spread(whole)),
            ("**batch / `LLM.generate`**", spread(of_peer, 2)), ("batch / engine", spread(of_engine, 2)),
        ],
        f"at least {OF_ENGINE:g} of `LLM.generate`; measured {middle:.2f}",
        middle >= OF_ENGINE,
        [(f"{rounds} rounds in turns after one that is not counted; the same prompts, {TOKENS} tokens each "
          f"(ignore_eos), {WIDTH} in the engine at once, greedy, float32, rill."),
         "`LLM.generate` has all prompts from the start, in its own process, with the worker's options.",
         "Batch: from POST /v1/batches to the commit that names the output file: validation and both files count."],
        {"peer": peers, "engine": alone, "platform": whole},
    )  # fmt: skip
