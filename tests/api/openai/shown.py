"""For each family, the fields that our answers had: real requests, whole and streamed, well and badly ended."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from openai import AsyncOpenAI
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.evals import RunCreateResponse
from openai.types.responses import Response, ResponseItemList
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from pydantic import BaseModel

from core.db.session import Database
from core.jobs.job import State
from tests.api.openai import evaluating, training
from tests.api.openai.batching import CHAT as CHAT_PATH
from tests.api.openai.batching import begin, ended, line
from tests.api.openai.conformance import had
from tests.api.openai.response_family import EVENTS
from tests.fakes.receiver import receiver

SAID = [{"role": "user", "content": "x"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object"}},
}
FLAT = {
    "type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": "d"
}  # fmt: skip
ALLOWED = {
    "type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]
}  # fmt: skip
FORM = {
    "type": "json_schema", "name": "a", "description": "d", "strict": True, "schema": {"enum": ["y"]}
}  # fmt: skip


@dataclass
class Asker:
    """Plain HTTP and OpenAI's client, of one tenant; the database, for what a worker would say."""

    client: httpx.AsyncClient
    ai: AsyncOpenAI
    db: Database

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.client.post(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def streamed(self, path: str, body: dict[str, Any]) -> AsyncIterator[Any]:
        async with self.client.stream("POST", path, json=body | {"stream": True}) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for one in answer.aiter_lines():
                if one.startswith("data: {"):
                    yield json.loads(one[6:])


def had_all(*answers: BaseModel) -> set[str]:
    """Of what OpenAI's client read, as it was sent."""
    told = [(type(one), _sent(one)) for one in answers]
    return {path for model, raw in told for path in had(model, raw)}


async def chat(asker: Asker) -> set[str]:
    wishes: list[dict[str, Any]] = [
        {"logprobs": True, "top_logprobs": 1, "max_tokens": 2, "metadata": {"a": "b"}},
        {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60},
        {"functions": [TOOL["function"]], "function_call": {"name": "f"}, "max_tokens": 60},
    ]
    options = {"stream_options": {"include_usage": True, "include_obfuscation": True}}
    found: set[str] = set()
    for wish in wishes:
        body = {"model": "rill", "messages": SAID} | wish
        found |= had(ChatCompletion, await asker.post(CHAT_PATH, body))
        async for chunk in asker.streamed(CHAT_PATH, body | options):
            found |= had(ChatCompletionChunk, chunk)
    return found


async def completions(asker: Asker) -> set[str]:
    body = {"model": "rill", "prompt": "x", "max_tokens": 2, "logprobs": 1}
    found = had(Completion, await asker.post("/v1/completions", body))
    options = {"stream_options": {"include_usage": True}}
    async for chunk in asker.streamed("/v1/completions", body | options):
        found |= had(Completion, chunk)
    return found


async def embeddings(asker: Asker) -> set[str]:
    body = {"model": "scripted-embedder", "input": "x"}
    return had(CreateEmbeddingResponse, await asker.post("/v1/embeddings", body))


async def responses(asker: Asker) -> set[str]:
    path, base = "/v1/responses", {"model": "rill", "input": "x", "max_output_tokens": 60}
    first = await asker.post(path, base | {"max_output_tokens": 2, "top_logprobs": 1})
    every = {
        "instructions": "i", "metadata": {"a": "b"}, "user": "u", "safety_identifier": "s",
        "prompt_cache_key": "k", "prompt_cache_retention": "in_memory", "max_tool_calls": 1,
        "prompt_cache_options": {"mode": "implicit"}, "previous_response_id": first["id"],
        "text": {"format": FORM},
    }  # fmt: skip
    wishes: list[dict[str, Any]] = [
        every | {"top_logprobs": 1},
        {"tools": [FLAT], "tool_choice": {"type": "function", "name": "f"}},
        {"tools": [FLAT], "tool_choice": ALLOWED},
        {"max_output_tokens": 2},
        {"input": "[error]"},
    ]
    found = had(Response, first)
    for wish in wishes:
        async for event in asker.streamed(path, base | wish):
            found |= had(EVENTS[event["type"]], event)
            found |= had(Response, event.get("response"))
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {
        "type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "o"}]
    }  # fmt: skip
    said = {"role": "assistant", "content": "y", "phase": "commentary"}
    back = [*SAID, said, call, output, *first["output"]]
    made = await asker.post(path, base | {"input": back})
    query = {"include[]": "message.output_text.logprobs"}
    items = (await asker.client.get(f"{path}/{made['id']}/input_items", params=query)).json()
    counted = await asker.post(f"{path}/input_tokens", {"model": "rill", "input": "x"})
    return found | had(ResponseItemList, items) | had(InputTokenCountResponse, counted)


async def batches(asker: Asker) -> set[str]:
    """One of each end: done with a line that failed, refused, cancelled, out of time."""
    ai, slow = asker.ai, [line(str(n), max_tokens=1500) for n in range(64)]
    mixed = await begin(ai, [line("a"), line("b", temperature=9)], metadata={"a": "b"})
    wrong = await begin(ai, [line("a") | {"method": "GET"}])
    late = await begin(ai, slow, "2s")
    stopped = await begin(ai, slow)
    await ai.batches.cancel(stopped.id)
    some = await asyncio.gather(*(ended(ai, b.id) for b in (mixed, wrong, late, stopped)))
    assert [b.status for b in some] == ["completed", "failed", "expired", "cancelled"]
    return had_all(*some)


async def files(asker: Asker) -> set[str]:
    keep: Any = {"anchor": "created_at", "seconds": 3600}
    made = await asker.ai.files.create(file=("f", b"{}"), purpose="batch", expires_after=keep)
    return had_all(made) | had_all(await asker.ai.files.delete(made.id))


async def uploads(asker: Asker) -> set[str]:
    ai, content = asker.ai, b"0123456789"
    keep: Any = {"anchor": "created_at", "seconds": 3600}
    begun = await ai.uploads.create(
        bytes=len(content),
        filename="f",
        mime_type="text/plain",
        purpose="batch",
        expires_after=keep,
    )
    part = await ai.uploads.parts.create(begun.id, data=content)
    whole = await ai.uploads.complete(
        begun.id,
        part_ids=[part.id],
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )
    return had_all(begun, part, whole)


async def fine_tuning(asker: Asker) -> set[str]:
    """One that runs, and one of each end."""
    jobs, metadata = asker.ai.fine_tuning.jobs, {"a": "b"}
    await training.by_hand(asker.db, asker.ai.api_key)
    valid, beta = await training.upload(asker.ai), {"hyperparameters": {"beta": 0.2}}
    made = [
        await training.begin(asker.ai, validation_file=valid, metadata=metadata, seed=1),
        await training.begin(asker.ai, method={"type": "dpo", "dpo": beta}),
    ]
    hands = [await training.Hand.take(asker.db, one.id) for one in made]
    await hands[0].train()
    runs = await jobs.retrieve(made[0].id)
    await hands[0].succeed(files=[valid])
    why = {"code": "c", "message": "m", "param": "training_file"}
    await hands[1].end(State.FAILED, error=why)
    ended = [await jobs.retrieve(one.id) for one in made]
    events = (await jobs.list_events(made[0].id, limit=100)).data
    return had_all(runs, *ended, *events, *(await jobs.checkpoints.list(made[0].id)).data)


async def evals(asker: Asker) -> set[str]:
    """A run of each way to send items, one of them failed; each kind of grader, and a deletion of each."""
    ai = asker.ai
    made = await evaluating.new_eval(
        ai, evaluating.CHECK, evaluating.ALIKE, name="n", metadata={"a": "b"}
    )
    sampling = {"max_completion_tokens": 4, "seed": 1, "temperature": 0.5, "top_p": 0.9}
    good = evaluating.source(sampling_params=sampling)
    bad = (await ai.files.create(file=("f", b"no items"), purpose="evals")).id
    runs = [
        await evaluating.new_run(ai, made.id, good, name="r", metadata={"a": "b"}),
        await evaluating.new_run(ai, made.id, evaluating.source(file=bad)),
    ]
    ended = [await evaluating.done(ai, run, "completed", "failed") for run in runs]
    assert [run.status for run in ended] == ["completed", "failed"]
    items = (await ai.evals.runs.output_items.list(runs[0].id, eval_id=made.id)).data
    # Read by one shape and listed by another of the same fields.
    found = {path for run in ended for path in had(RunCreateResponse, _sent(run))}
    found |= had_all(made, *items, await ai.evals.runs.delete(runs[0].id, eval_id=made.id))
    return found | had_all(await ai.evals.delete(made.id))


def _sent(answer: BaseModel) -> Any:
    return json.loads(answer.model_dump_json(exclude_unset=True, by_alias=True))


async def webhook_endpoints(asker: Asker) -> set[str]:
    hooks = asker.ai.webhooks
    async with receiver() as there:
        made = await hooks.create(
            name="n", url=there.url, event_types=["batch.completed", "response.completed"]
        )
        tested = await hooks.test(made.id, event_type="response.completed")
    changed = await hooks.update(made.id, name="m")
    found = had_all(made, tested, changed)
    return found | had_all(await hooks.delete(made.id))


async def webhook_event_types(asker: Asker) -> set[str]:
    return had_all(await asker.ai.webhooks.event_types.list())


async def models(asker: Asker) -> set[str]:
    return had_all(await asker.ai.models.retrieve("rill"))


# By the family's name. Another family joins with a function here and a Family in families.py.
SHOWN: dict[str, Callable[[Asker], Awaitable[set[str]]]] = {
    one.__name__: one
    for one in (
        chat, completions, responses, embeddings, batches, files, uploads, fine_tuning,
        evals,
        webhook_endpoints,
        webhook_event_types, models,
    )
}  # fmt: skip
