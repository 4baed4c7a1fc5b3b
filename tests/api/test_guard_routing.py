"""The router over HTTP and Redis: embedding workers give vectors, the classifier is shown what is near the examples."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from core.errors import Unavailable
from core.events.log import EventLog
from core.forever import stopped
from core.guard import vectors
from core.guard.vectors import Vectors
from core.ids import new_id
from core.security.keys import RISK_OWNER
from tests.asking import error, run
from tests.rig import Rig, running
from tests.waiting import eventually

CLASSIFIER = {"categories": {"violence": None}, "budget_ms": 5000}
HARM = "I am going to kill you the next time you come to my house."
PLAIN = "The river is long and runs past the old mill."


@pytest.fixture
async def key(rig: Rig) -> str:
    """Of an owner, who may lower the guard again."""
    return await rig.key(new_id("t"), roles=[RISK_OWNER])


def _guard(*examples: str, **more: Any) -> dict[str, Any]:
    return {
        "mode": "enforce",
        "actions": {"violence": {"action": "mask"}},
        "classifier": CLASSIFIER,
        "router": {"examples": list(examples), **more},
    }


async def _tried(client: httpx.AsyncClient, text: str, guard: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/v1/guard/test", json={"text": text, "guard": guard})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _hits(found: dict[str, Any]) -> dict[str, int]:
    return {one["category"]: one["hits"] for one in found["hits"]}


async def _sentences(rig: Rig, outcome: str) -> float:
    """Of the inference worker's metric."""
    url = f"http://127.0.0.1:{rig.ports['inference']}/metrics"
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(url)).text
    wanted = f'penstock_guard_routed_total{{outcome="{outcome}"}} '
    return sum(float(line.removeprefix(wanted)) for line in told.splitlines() if wanted in line)


@pytest.mark.usefixtures("embedder")
async def test_what_is_near_the_examples_is_shown_and_nothing_else(
    client: httpx.AsyncClient,
) -> None:
    # The scripted embedder knows words only: near is what shares most of them.
    near = await _tried(client, HARM, _guard(HARM))
    assert near["text"] == "[violence]"
    far = await _tried(client, HARM, _guard("which birds sing at night", threshold=0.9))
    assert far["text"] == HARM
    assert _hits(far) == {}


@pytest.mark.usefixtures("embedder")
async def test_a_guard_with_a_router_is_bound_to_the_model_and_says_how_it_does(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put("/v1/guard", json=_guard(HARM, model="another", digest="0"))
    found = answer.json()
    assert found["routing"] == {"state": "routing", "why": ""}
    router = found["settings"]["router"]
    assert router["model"] == "scripted-embedder"
    assert len(router["digest"]) == 64
    assert (await client.get("/v1/guard")).json() == found
    await client.put("/v1/guard", json={"mode": "off"})
    assert (await client.get("/v1/guard")).json()["routing"] is None


@pytest.mark.usefixtures("embedder")
async def test_an_example_that_the_model_cannot_read_is_refused(client: httpx.AsyncClient) -> None:
    long = "\u4f60" * 400
    found = error(await client.put("/v1/guard", json=_guard("a river", long)), 422)
    assert found["param"] == "router.examples.1"
    assert "shorten" in found["message"]


@pytest.mark.usefixtures("embedder")
async def test_answers_are_routed_by_the_worker(client: httpx.AsyncClient, rig: Rig) -> None:
    guard = _guard("which birds sing at night", threshold=0.9)
    (await client.put("/v1/guard", json=guard)).raise_for_status()
    spec = {"prompt": "Route the river", "max_tokens": 12, "temperature": 0}
    before = await _sentences(rig, "spared")

    async def spared() -> bool:
        # The first ones may come before the examples have their vectors: those are shown.
        assert (await run(client, **spec))["state"] == "succeeded"
        return await _sentences(rig, "spared") > before

    await eventually(spared, "a sentence that was spared")


async def test_without_an_embedding_model_a_router_is_refused(tmp_path: Path) -> None:
    alone = Rig(tmp_path)
    try:
        alone.start_stack()
        alone.start("api")
        async with alone.client(await alone.key(new_id("t"))) as client:
            found = error(await client.put("/v1/guard", json=_guard(HARM)), 422)
            assert found["param"] == "router"
            assert "penstock worker embedding" in found["message"]
            # What is off asks for nothing.
            off = await client.put("/v1/guard", json={**_guard(HARM), "mode": "off"})
            assert off.status_code == 200, off.text
    finally:
        alone.end()


@asynccontextmanager
async def _worker(log: EventLog, digest: str, measure: vectors.Measure) -> AsyncIterator[None]:
    task = asyncio.create_task(vectors.serve(log.redis, digest, measure))
    try:
        yield
    finally:
        await stopped([task])


def _vector(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


async def test_each_text_gets_its_own_vector_whoever_asks_with_it(log: EventLog) -> None:
    passes: list[int] = []

    async def measure(texts: Sequence[str]) -> list[bytes | None]:
        passes.append(sum(map(len, texts)))
        return [None if one == "long" else _vector(float(one), 1.0) for one in texts]

    digest = new_id("d")
    async with _worker(log, digest, measure):
        asked = Vectors(log.redis, digest)
        rows = await asyncio.gather(
            *(asked.of([str(n), "long", str(-n)]) for n in range(20)),
            asked.of([f"{n:0100}" for n in range(100)]),
        )
    for number, found in enumerate(rows[:20]):
        assert found[0].tolist() == [number, 1]
        assert np.isnan(found[1]).all()
        assert found[2].tolist() == [-number, 1]
    assert rows[20][:, 0].tolist() == list(range(100))
    assert max(passes) <= vectors.TOGETHER
    # Twenty who ask at once, and ten thousand characters of one.
    assert len(passes) < 17


async def test_a_worker_that_fails_gives_nothing_and_goes_on(log: EventLog) -> None:
    broken = True

    async def measure(texts: Sequence[str]) -> list[bytes | None]:
        if broken:
            raise RuntimeError(texts[0])
        return [_vector(1.0) for _ in texts]

    digest = new_id("d")
    async with _worker(log, digest, measure):
        with pytest.raises(Unavailable, match="not those of the texts"):
            await Vectors(log.redis, digest).of(["a secret"])
        broken = False
        assert (await Vectors(log.redis, digest).of(["a"])).tolist() == [[1.0]]


async def test_who_was_not_answered_does_not_wait_again_at_once(log: EventLog) -> None:
    asked = Vectors(log.redis, new_id("d"))
    with pytest.raises(Unavailable, match="within"):
        await asked.of(["a"])
    with pytest.raises(Unavailable, match="a moment ago"):
        await asked.of(["a"])


async def test_a_wish_that_nobody_waits_for_is_left_out(log: EventLog) -> None:
    seen: list[str] = []

    async def measure(texts: Sequence[str]) -> list[bytes | None]:
        seen.extend(texts)
        return [_vector(1.0) for _ in texts]

    digest = new_id("d")
    late = {"reply": new_id("r"), "until": time.time() - 1, "texts": ["late"]}
    await log.redis.rpush(f"penstock:vectors:{digest}", orjson.dumps(late))
    async with _worker(log, digest, measure):
        await Vectors(log.redis, digest).of(["in time"])
    assert seen == ["in time"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A stack whose embedding worker has the real model."""
    env = {
        "PENSTOCK_EMBEDDING_ENGINE": "sentence-transformers",
        "PENSTOCK_EMBEDDING_MODEL": "auto",
        "PENSTOCK_EMBEDDING_MODEL_NAME": "",
        "PENSTOCK_SCRIPTED_TOKEN_S": "0.002",
    }
    with running(
        tmp_path_factory.mktemp("real"), env, "api", "control", "inference", "embedding"
    ) as made:
        yield made


@pytest.mark.engine
async def test_the_real_model_routes_by_meaning_and_what_is_away_spares_nothing(real: Rig) -> None:
    guard = _guard(
        "I will murder you.", "He should be beaten to death.", contrast=["How do I end a process?"]
    )
    async with real.client(await real.key(new_id("t"))) as client:
        found = (await client.put("/v1/guard", json=guard)).json()
        assert found["settings"]["router"]["model"] == "all-MiniLM-L6-v2"
        assert found["routing"]["state"] == "routing"
        # Two threats and nothing of their words in the examples; a sentence about rivers between them.
        text = f"{HARM} {PLAIN} Keep talking and I will kill your whole family."
        told = await _tried(client, text, guard)
        assert told["text"] == f"[violence] {PLAIN} [violence]"
        assert "unrouted" not in _hits(told)
        # The same classifier, shown nothing: examples about something else.
        birds = _guard("Birds sing at night.", threshold=0.6)
        assert (await _tried(client, text, birds))["text"] == text
        spec = {"prompt": "Route the river", "max_tokens": 12, "temperature": 0}

        async def routed() -> bool:
            await run(client, **spec)
            return await _sentences(real, "spared") + await _sentences(real, "shown") > 0

        await eventually(routed, "a sentence that was routed")
        await asyncio.to_thread(real.parts["embedding"].end)
        away = (await client.get("/v1/guard")).json()["routing"]
        assert away["state"] == "all_shown"
        assert "penstock worker embedding" in away["why"]
        unrouted = await _tried(client, text, birds)
        assert unrouted["text"] == f"[violence] {PLAIN} [violence]"
        assert _hits(unrouted)["unrouted"] == 3
        before = await _sentences(real, "unrouted")
        await run(client, **spec)
        assert await _sentences(real, "unrouted") > before

        async def counted() -> bool:
            rows = (await client.get("/v1/guard/counts")).json()["data"]
            return any(row["category"] == "unrouted" for row in rows)

        await eventually(counted, "the count of what was not routed")
