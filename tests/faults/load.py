"""A load of jobs as clients make it: retried submissions, streams that break, and what each answer must be."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx

from core.catalog import tokenizer
from core.config import Settings
from tests.fakes.engine import ScriptedEngine
from tests.reader import Reader
from tests.waiting import PATIENCE_S
from workers.engine import Chunk, Request

# A stop string that no answer holds: words of letters and blanks only.
NEVER = "<never>"
RETRY_S = 0.05


@dataclass(frozen=True)
class Answer:
    """What an undisturbed run of a job gives."""

    text: str
    tokens: int
    finish: str
    prompt: int
    # How long the text is before each token.
    starts: tuple[int, ...] = ()

    def spent(self, said: str) -> set[int]:
        """Tokens that an attempt may have counted that said so much of it."""
        begun = sum(start < len(said) for start in self.starts)
        # Tokens of a stop string are said with the last text before it, or not yet.
        return {begun, self.tokens} if said == self.text else {begun}


@dataclass
class Load:
    """`bodies`: by job id, what was asked for. `kills` is for the test to count, for the report."""

    name: str
    settings: Settings
    seed: int
    rng: random.Random
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    drawn: int = 0
    resent: int = 0
    cuts: int = 0
    kills: int = 0
    following: list["asyncio.Task[None]"] = field(default_factory=list)
    trouble: str = ""

    @property
    def ids(self) -> list[str]:
        return list(self.bodies)


def begin(name: str, settings: Settings) -> Load:
    """An empty load with its printed seed; PENSTOCK_SEED in the environment replays one."""
    seed = int(os.environ.get("PENSTOCK_SEED") or random.SystemRandom().randrange(10**6))
    print(f"{name}: PENSTOCK_SEED={seed}")
    return Load(name, settings, seed, random.Random(seed))


class Undisturbed(ScriptedEngine):
    """The scripted engine with its marks switched off."""

    def _first(self, *_: object) -> bool:
        return False


@lru_cache(maxsize=4)
def _engine(model: str) -> Undisturbed:
    return Undisturbed(Settings(_env_file=None, model=model))


async def answer(body: dict[str, Any], settings: Settings) -> Answer:
    """The answer to a body, computed here: words until a stop string or max_tokens."""
    prompt = tokenizer.prompt_ids(tokenizer.load(settings.model), body)
    request = Request("expected-1", prompt, body["max_tokens"])
    text, starts = "", []
    stream: AsyncGenerator[Chunk, None] = _engine(settings.model).generate(request)
    async for chunk in stream:
        starts += [len(text)] * len(chunk.tokens)
        text += chunk.text
        found = [at for stop in body.get("stop", ()) if (at := text.find(stop)) >= 0]
        if found:
            return Answer(text[: min(found)], len(starts), "stop", len(prompt), tuple(starts))
    return Answer(text, len(starts), "length", len(prompt), tuple(starts))


async def body(load: Load, **fixed: Any) -> dict[str, Any]:
    """A random job: 1 to 60 tokens, some as messages, some of low priority, some with stop strings."""
    rng, number = load.rng, load.drawn
    load.drawn += 1
    words = f"Job {number} of {load.seed}. " + " ".join(
        rng.choices(["The", "river", "turns", "a", "wheel", "below"], k=rng.randint(1, 12))
    )
    made: dict[str, Any] = {
        "kind": "inference",
        "max_tokens": rng.randint(1, 60),
        "temperature": 0,
        "metadata": {"number": str(number)},
        "priority": "batch" if rng.random() < 0.25 else "interactive",
    }
    if rng.random() < 0.2:
        made["messages"] = [{"role": "user", "content": words}]
    else:
        made["prompt"] = words
    made |= fixed
    if "prompt" in fixed:
        made.pop("messages", None)
    if "stop" not in fixed and rng.random() < 0.2:
        whole = (await answer(made, load.settings)).text
        at = rng.randrange(len(whole))
        made["stop"] = [whole[at : at + 6], NEVER]
    return made


async def post(load: Load, client: httpx.AsyncClient, made: dict[str, Any], key: str) -> str:
    """Submit until it is answered, as a client does that must not lose a job; returns the job's id."""
    while True:
        try:
            response = await client.post("/v1/jobs", json=made, headers={"idempotency-key": key})
        except httpx.TransportError as error:
            load.trouble = repr(error)
        else:
            if response.status_code == 202:
                job_id = str(response.json()["id"])
                assert load.bodies.setdefault(job_id, made) is made, f"{job_id} given to two bodies"
                return job_id
            assert response.status_code in (429, 500, 502, 503), response.text
            load.trouble = response.text
        load.resent += 1
        await asyncio.sleep(RETRY_S)


def key_of(load: Load, made: dict[str, Any]) -> str:
    """The Idempotency-Key of a body: it is sent again under the same one."""
    return f"{load.name}-{load.seed}-{made['metadata']['number']}"


async def submit(
    load: Load,
    client: httpx.AsyncClient,
    count: int,
    *,
    follow_every: int = 3,
    at_once: int = 8,
    pause_s: float = 0.0,
    **fixed: Any,
) -> list[str]:
    """`count` random jobs, each under its own Idempotency-Key; every `follow_every`th gets a reader.

    `fixed`: fields that all of them share. `pause_s` after each job spreads them in time.
    """
    gate = asyncio.Semaphore(at_once)

    async def one(number: int, made: dict[str, Any]) -> str:
        async with gate:
            job_id = await post(load, client, made, key_of(load, made))
            if follow_every and number % follow_every == 0:
                read(load, client, job_id)
            if pause_s:
                await asyncio.sleep(pause_s)
            return job_id

    # Bodies are drawn in order, so that a seed gives the same ones whatever the timing.
    made = [await body(load, **fixed) for _ in range(count)]
    return await asyncio.gather(*(one(n, m) for n, m in enumerate(made)))


def read(load: Load, client: httpx.AsyncClient, job_id: str) -> Reader:
    """A reader in the background that loses its connection now and then."""
    reader = Reader(job_id)
    load.readers.append(reader)
    rng = random.Random(load.rng.random())
    load.following.append(asyncio.create_task(_follow(load, client, reader, rng)))
    return reader


async def _follow(
    load: Load, client: httpx.AsyncClient, reader: Reader, rng: random.Random
) -> None:
    while not reader.ended:
        try:
            async with asyncio.timeout(rng.uniform(0.2, 3.0)):
                await reader.connect(client)
        except TimeoutError:
            load.cuts += 1
        except httpx.HTTPError as error:
            load.trouble = f"{reader.job_id} at {reader.cursor}: {error!r}"
            await asyncio.sleep(RETRY_S)
        if not reader.ended:
            reader.reconnects += 1


async def read_out(load: Load, timeout_s: float = PATIENCE_S) -> None:
    """Wait until every reader has its last event; what a reader found wrong is raised here."""
    done, open_ = (
        await asyncio.wait(load.following, timeout=timeout_s) if load.following else ((), ())
    )
    for task in done:
        task.result()
    late = [f"{r.job_id} at {r.cursor}" for r in load.readers if not r.ended]
    await give_up(open_)
    assert not late, f"readers without their last event: {late[:5]}; last trouble: {load.trouble}"


async def give_up(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel background work at the end of a test."""
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
