"""Batches while workers, control and api are killed: every line ends once, counts are true, readers miss nothing."""

import asyncio
import json
import random
import time
from typing import Any

import httpx
import pytest

from tests.api.openai.batching import CHAT, ENDED, jsonl, line
from tests.faults.invariants import REPORT
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

EMBEDDINGS = "/v1/embeddings"
LINES = 2000
# A killed process takes seconds of these two cores to start again: more would be a test of that.
KILLS = 8


def embedding(custom_id: str, text: str) -> dict[str, Any]:
    body = {"model": "scripted-embedder", "input": text}
    return {"custom_id": custom_id, "method": "POST", "url": EMBEDDINGS, "body": body}


async def patient(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    """A request repeated until an API process answers it."""

    async def answered() -> httpx.Response | None:
        try:
            answer = await client.request(method, path, **more)
        except httpx.TransportError:
            return None
        return answer if answer.status_code < 500 else None

    found = await eventually(answered, f"{method} {path} was never answered")
    assert found is not None
    assert found.status_code == 200, found.text
    return found


async def begin(
    client: httpx.AsyncClient, rows: list[Any], window: str = "24h", **more: Any
) -> str:
    file = await patient(
        client, "POST", "/v1/files",
        files={"file": ("in.jsonl", jsonl(rows))}, data={"purpose": "batch"},
    )  # fmt: skip
    body = {
        "input_file_id": file.json()["id"], "completion_window": window, "endpoint": CHAT, **more,
    }  # fmt: skip
    made = await patient(client, "POST", "/v1/batches", json=body)
    return str(made.json()["id"])


async def state(client: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await patient(client, "GET", f"/v1/batches/{batch_id}")).json()
    return found


async def ended(client: httpx.AsyncClient, batch_id: str, timeout_s: float) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        now = await state(client, batch_id)
        return now if now["status"] in ENDED else None

    found = await eventually(over, f"{batch_id} never ended", timeout_s)
    assert found is not None
    return found


async def content(client: httpx.AsyncClient, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    read = await patient(client, "GET", f"/v1/files/{file_id}/content")
    return [json.loads(one) for one in read.text.splitlines()]


async def follow(
    client: httpx.AsyncClient, batch_id: str, rng: random.Random
) -> tuple[list[int], list[str], int]:
    """Read to the end through every cut, and cut the line now and then oneself. Returns numbers, names, cuts."""
    numbers: list[int] = []
    names: list[str] = []
    cuts = 0
    while True:
        headers = {"last-event-id": str(numbers[-1])} if numbers else {}
        leave_at = len(numbers) + rng.randint(100, 600)
        try:
            async with client.stream(
                "GET", f"/v1/batches/{batch_id}/stream", headers=headers
            ) as answer:
                number, name, named = 0, "", ""
                async for said in answer.aiter_lines():
                    field, _, value = said.partition(": ")
                    number = int(value) if field == "id" else number
                    name = value if field == "event" else name
                    if field == "data" and name == "line":
                        numbers.append(number)
                        names.append(json.loads(value)["custom_id"])
                        if len(numbers) >= leave_at:
                            break
                    if field == "data" and name.startswith("batch."):
                        named = name
                if named:
                    return numbers, names, cuts
        except httpx.TransportError:
            # An API process was killed; the next one is asked for the rest.
            await asyncio.sleep(0.05)
        cuts += 1


async def rage(rig: Rig, client: httpx.AsyncClient, batch_id: str, load: Load) -> dict[str, int]:
    """Kill KILLS processes in a random order, all but two of them workers, unless the batch ends before."""
    killed: dict[str, int] = {}
    victims = [load.rng.choice(["inference", "inference2"]) for _ in range(KILLS - 2)]
    victims += ["control", "api"]
    load.rng.shuffle(victims)
    for name in victims:
        if (await state(client, batch_id))["status"] in ENDED:
            break
        part = rig.process("inference", 2) if name == "inference2" else rig.process(name)
        await asyncio.to_thread(part.kill)
        killed[name] = killed.get(name, 0) + 1
        await asyncio.to_thread(part.start)
        # The random moment of the next kill.
        await asyncio.sleep(load.rng.uniform(0, 1.0))
    return killed


async def check(
    client: httpx.AsyncClient, done: dict[str, Any], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Every custom_id once in the files, and the counts and usage are those of the lines. Returns the output."""
    output = await content(client, done["output_file_id"])
    errors = await content(client, done["error_file_id"])
    names = sorted(one["custom_id"] for one in (*output, *errors))
    assert names == sorted(one["custom_id"] for one in rows)
    counts = done["request_counts"]
    failed = [one for one in errors if one["response"] is not None]
    assert counts == {"total": len(rows), "completed": len(output), "failed": len(failed)}
    usages = [one["response"]["body"]["usage"] for one in output]
    assert done["usage"]["output_tokens"] == sum(u.get("completion_tokens", 0) for u in usages)
    assert done["usage"]["input_tokens"] == sum(u["prompt_tokens"] for u in usages)
    return output


async def charged(client: httpx.AsyncClient, batches: list[dict[str, Any]]) -> int:
    """The tenant's ledger holds these batches, each settled, and what their lines took. Returns all tokens."""
    (found,) = (await patient(client, "GET", "/v1/usage?group_by=")).json()["data"]
    assert (found["batches"], found["jobs"], found["open"]) == (len(batches), 0, 0)
    assert found["reserved_tokens"] == 0
    for name, theirs in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        assert found[name] == sum(one["usage"][theirs] for one in batches)
    return int(found["prompt_tokens"] + found["completion_tokens"])


@pytest.mark.timeout(180)
async def test_workers_control_and_api_are_killed(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    await asyncio.to_thread(rig.process("inference", 2).start)
    rows = [
        line(f"r{i}", f"Number {i}", max_tokens=load.rng.randint(5, 60), ignore_eos=True)
        for i in range(LINES - 20)
    ] + [line(f"bad{i}", temperature=9) for i in range(20)]
    load.rng.shuffle(rows)
    began = time.monotonic()
    batch_id = await begin(client, rows)
    readers = [
        asyncio.create_task(follow(client, batch_id, random.Random(load.rng.random())))
        for _ in range(3)
    ]
    killed = await rage(rig, client, batch_id, load)
    done = await ended(client, batch_id, 120)
    took = time.monotonic() - began
    assert done["status"] == "completed", done
    output = await check(client, done, rows)
    wanted = {one["custom_id"]: one["body"]["max_tokens"] for one in rows}
    for one in output:
        said = one["response"]["body"]["usage"]["completion_tokens"]
        assert said == wanted[one["custom_id"]]
    tokens = await charged(client, [done])
    cuts = 0
    for numbers, names, cut in await asyncio.gather(*readers):
        assert numbers == list(range(1, LINES + 1))
        assert len(set(names)) == LINES
        cuts += cut
    workers = killed.get("inference", 0) + killed.get("inference2", 0)
    assert workers >= 5, killed
    load.kills = sum(killed.values())
    REPORT.append(
        f"batch of {LINES} lines in {took:.0f} s, killed {killed}: 0 lost, 0 doubled;"
        f" 3 readers, {cuts} cuts, no line missed or repeated; {tokens} tokens charged, each once"
    )


async def test_a_cap_holds_while_workers_are_killed(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """What dead workers had set aside comes back; what they had not recorded is not charged."""
    await asyncio.to_thread(rig.process("inference", 2).start)
    rows = [
        line(f"r{i}", f"Number {i}", max_tokens=load.rng.randint(20, 60), ignore_eos=True)
        for i in range(1000)
    ]
    # About half of them.
    cap = 25_000
    batch_id = await begin(client, rows, max_tokens_total=cap)
    for name, number in (("inference", 1), ("inference", 2), ("inference", 1)):
        # The random moment of the next kill.
        await asyncio.sleep(load.rng.uniform(0.2, 1.5))
        part = rig.process(name, number)
        await asyncio.to_thread(part.kill)
        await asyncio.to_thread(part.start)
        load.kills += 1
    done = await ended(client, batch_id, 120)
    assert (done["status"], done["stopped_by"]) == ("completed", "max_tokens_total"), done
    output = await check(client, done, rows)
    tokens = await charged(client, [done])
    # Less than one line's worth is left of it.
    assert cap - 100 < tokens <= cap, f"{tokens} of {cap}"
    left = await content(client, done["error_file_id"])
    assert {one["error"]["code"] for one in left} == {"budget_exhausted"}
    REPORT.append(
        f"batch capped at {cap} tokens, {load.kills} workers killed: {len(output)} of {len(rows)} lines"
        f" run, {tokens} tokens charged"
    )


async def test_embedding_workers_are_killed(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    await asyncio.gather(
        *(asyncio.to_thread(rig.process("embedding", n).start) for n in (1, 2))
    )  # fmt: skip
    # A pass with one of the slow ones takes a second, with whatever shares it.
    rows = [
        embedding(
            f"r{i}", f"{'[slow] ' if i % 8 == 0 else ''}number {i} " * load.rng.randint(1, 20)
        )
        for i in range(1000)
    ] + [embedding(f"bad{i}", "") for i in range(20)]
    load.rng.shuffle(rows)
    batch_id = await begin(client, rows, endpoint=EMBEDDINGS)
    reader = asyncio.create_task(follow(client, batch_id, random.Random(load.rng.random())))
    for number in (1, 2, 1, 2):
        # The random moment of the next kill.
        await asyncio.sleep(load.rng.uniform(0.2, 1.5))
        if (await state(client, batch_id))["status"] in ENDED:
            break
        part = rig.process("embedding", number)
        await asyncio.to_thread(part.kill)
        await asyncio.to_thread(part.start)
        load.kills += 1
    assert load.kills >= 2, "in the middle of it"
    done = await ended(client, batch_id, 120)
    assert done["status"] == "completed", done
    output = await check(client, done, rows)
    assert len(output) == 1000
    tokens = await charged(client, [done])
    numbers, names, _ = await reader
    assert numbers == list(range(1, len(rows) + 1))
    assert len(set(names)) == len(rows)
    REPORT.append(
        f"batch of {len(rows)} lines to embed, {load.kills} workers killed: 0 lost, 0 doubled;"
        f" {tokens} tokens charged, each once"
    )


async def test_cancel_and_expiry_race_with_everything(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """Many small batches, ended at random moments by a cancel, their window or themselves."""

    async def one(number: int) -> dict[str, Any]:
        rows = [
            line(f"b{number}r{i}", max_tokens=load.rng.randint(1, 40), ignore_eos=True)
            for i in range(load.rng.randint(1, 60))
        ]
        window = load.rng.choice(["1s", "2s", "24h"])
        batch_id = await begin(client, rows, window)
        if load.rng.random() < 0.5:
            # The random moment of the cancel.
            await asyncio.sleep(load.rng.uniform(0, 1.5))
            await client.post(f"/v1/batches/{batch_id}/cancel")
        done = await ended(client, batch_id, 90)
        if done["request_counts"]["total"]:
            await check(client, done, rows)
        else:
            assert done["status"] in ("cancelled", "expired"), "ended while it was validated"
        return done

    tasks = [asyncio.create_task(one(number)) for number in range(24)]
    # A worker dies in the middle of it.
    await asyncio.sleep(load.rng.uniform(0.5, 2.0))
    await asyncio.to_thread(rig.process("inference").kill)
    await asyncio.to_thread(rig.process("inference").start)
    load.kills = 1
    batches = await asyncio.gather(*tasks)
    tokens = await charged(client, list(batches))
    ends = [str(one["status"]) for one in batches]
    told = {s: ends.count(s) for s in sorted(set(ends))}
    REPORT.append(f"24 batches raced: {told}; {tokens} tokens charged, each once")


@pytest.mark.parametrize("begun", [False, True], ids=["before", "within"])
async def test_a_file_that_is_deleted_fails_what_was_not_read_of_it(
    rig: Rig, client: httpx.AsyncClient, load: Load, begun: bool
) -> None:
    rows = [line(f"r{number}", max_tokens=60, ignore_eos=True) for number in range(400)]
    worker = rig.process("inference")
    if not begun:
        await asyncio.to_thread(worker.kill)
    batch_id = await begin(client, rows)

    async def some() -> bool:
        return bool((await state(client, batch_id))["request_counts"]["completed"])

    if begun:
        await eventually(some, "some lines are finished")
        await asyncio.to_thread(worker.kill)
    load.kills = 1
    file = (await state(client, batch_id))["input_file_id"]
    await patient(client, "DELETE", f"/v1/files/{file}")
    await asyncio.to_thread(worker.start)
    done = await ended(client, batch_id, 90)
    if not begun:
        assert done["status"] == "failed"
        assert [one["code"] for one in done["errors"]["data"]] == ["input_file_gone"]
        return
    counts = done["request_counts"]
    assert (done["status"], counts["total"]) == ("completed", len(rows))
    assert counts["completed"] + counts["failed"] == len(rows)
    left = await content(client, done["error_file_id"])
    assert len(left) == counts["failed"] > 0
    assert {one["error"]["code"] for one in left} == {"input_file_gone"}


async def test_the_stores_are_killed_under_a_batch(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """Postgres, Redis and the broker, each once while lines run: the batch goes on where it was."""
    rows = [line(f"r{number}", max_tokens=40, ignore_eos=True) for number in range(500)]
    batch_id = await begin(client, rows)
    reader = asyncio.create_task(follow(client, batch_id, random.Random(load.rng.random())))
    victims = ["postgres", "redis", "kafka"]
    load.rng.shuffle(victims)
    for name in victims:
        before = (await state(client, batch_id))["request_counts"]["completed"]

        async def more(than: int = before) -> bool:
            return bool((await state(client, batch_id))["request_counts"]["completed"] > than)

        await eventually(more, "more lines are finished")
        assert (await state(client, batch_id))["status"] == "in_progress", "killed in the middle"
        await asyncio.to_thread(rig.stack.parts[name].kill)
        await asyncio.to_thread(rig.stack.parts[name].start)
        load.kills += 1
    done = await ended(client, batch_id, 120)
    assert done["status"] == "completed"
    assert len(await check(client, done, rows)) == len(rows)
    await charged(client, [done])
    numbers, names, cuts = await reader
    assert numbers == list(range(1, len(rows) + 1))
    assert len(set(names)) == len(rows)
    REPORT.append(f"batch of {len(rows)} lines, {', '.join(victims)} killed: 0 lost; {cuts} cuts")
