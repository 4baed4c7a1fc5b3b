"""Run by test_old_client.py in a process of its own, where `openai` is 1.109.1: asks, and prints what it got."""

import json
import sys
import time
from typing import Any

import openai
from openai import DefaultHttpxClient, OpenAI

SAID: list[Any] = [{"role": "user", "content": "Tell me of the river."}]


def ask(ai: OpenAI) -> dict[str, Any]:
    whole = ai.chat.completions.create(
        model="rill", messages=SAID, max_tokens=6, n=2, seed=3, logprobs=True, top_logprobs=1
    )
    streamed = ["", ""]
    used = None
    for chunk in ai.chat.completions.create(
        model="rill", messages=SAID, max_tokens=6, n=2, seed=3, stream=True,
        stream_options={"include_usage": True},
    ):  # fmt: skip
        used = chunk.usage or used
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    completion = ai.completions.create(model="rill", prompt=["The mill", "The wind"], max_tokens=3)
    try:
        ai.chat.completions.create(model="rill", messages=SAID, temperature=9)
    except openai.BadRequestError as error:
        refused = error.param
    try:
        ai.models.retrieve("gone")
    except openai.NotFoundError as error:
        missing = error.code
    numbers, response = [], None
    for event in ai.responses.create(
        model="rill", input="Tell me.", max_output_tokens=6, stream=True, background=True
    ):
        numbers.append(event.sequence_number)
        response = getattr(event, "response", None) or response
    assert response is not None
    again = ai.responses.retrieve(response.id, stream=True, starting_after=4)
    told = whole.choices[0].logprobs
    called = ai.chat.completions.create(
        model="rill", messages=SAID, functions=[{"name": "f"}], function_call={"name": "f"}
    )
    return {
        "version": openai.__version__,
        "whole": [choice.message.content for choice in whole.choices],
        "streamed": streamed,
        "usage": [whole.usage == used, used is not None],
        "logprobs": [t.token for t in (told.content or [])] if told is not None else None,
        "completions": [choice.text for choice in completion.choices],
        "models": [model.id for model in ai.models.list()],
        "refused": refused,
        "response": [numbers, [event.sequence_number for event in again], response.status],
        "missing": missing,
        "called": called.choices[0].message.function_call is not None,
    }


def records(ai: OpenAI) -> dict[str, Any]:
    return {"files": files(ai), "batch": batch(ai), "tuning": tuning(ai)}


def tuning(ai: OpenAI) -> list[Any]:
    """A fine-tuning job with its settings at the old place, looked at and cancelled."""
    said = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
    sent = ai.files.create(file=("t.jsonl", json.dumps(said).encode()), purpose="fine-tune")
    jobs = ai.fine_tuning.jobs
    made = jobs.create(
        model="rill", training_file=sent.id, hyperparameters={"n_epochs": 2, "batch_size": "auto"}
    )
    events = [event.message for event in jobs.list_events(made.id)]
    listed = [job.id == made.id for job in jobs.list()]
    checkpoints = list(jobs.checkpoints.list(made.id))
    ended = jobs.cancel(made.id)
    return [made.hyperparameters.n_epochs, events, listed, checkpoints, ended.status]


def batch(ai: OpenAI) -> list[Any]:
    """A batch of responses: how it ended, and whether the answer is the one that is got at once."""
    body: dict[str, Any] = {"model": "rill", "input": "Tell me.", "max_output_tokens": 6}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    sent = ai.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    made = ai.batches.create(
        input_file_id=sent.id, endpoint="/v1/responses", completion_window="24h"
    )
    deadline = time.monotonic() + 60
    while made.status not in ("completed", "failed") and time.monotonic() < deadline:
        made = ai.batches.retrieve(made.id)
    assert made.output_file_id is not None, made
    told = json.loads(ai.files.content(made.output_file_id).read())["response"]["body"]
    said = told["output"][0]["content"][0]["text"]
    for left in ai.files.list():
        ai.files.delete(left.id)
    return [made.status, said == ai.responses.create(**body).output_text]


def files(ai: OpenAI) -> list[Any]:
    """A file sent whole and one in parts; what is read back of them, and what is left in the end."""
    whole = ai.files.create(file=("a.jsonl", b"first"), purpose="batch")
    upload = ai.uploads.create(
        bytes=6, filename="b.jsonl", mime_type="application/jsonl", purpose="batch"
    )
    parts = [ai.uploads.parts.create(upload.id, data=data) for data in (b"sec", b"ond")]
    done = ai.uploads.complete(upload.id, part_ids=[part.id for part in parts])
    assert done.file is not None
    ids = [whole.id, done.file.id]
    read = [ai.files.content(one).read().decode() for one in ids]
    listed = [one.filename for one in ai.files.list(purpose="batch", order="asc")]
    deleted = [ai.files.delete(one).deleted for one in ids]
    return [read, listed, deleted, len(list(ai.files.list()))]


if __name__ == "__main__":
    client = OpenAI(
        base_url=sys.argv[1], api_key=sys.argv[2], http_client=DefaultHttpxClient(trust_env=False)
    )
    sys.stdout.write(json.dumps(ask(client) | records(client)))
