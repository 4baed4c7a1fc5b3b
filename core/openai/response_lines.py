"""A response as a line of a batch: whole and at once, as there is no job that it could be read from later."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from core.errors import InvalidInput
from core.jobs.job import Job, State
from core.jobs.kinds import InferenceJob
from core.openai import response_answers, response_items
from core.openai.line import Asked
from core.openai.response_shapes import NAMES, Ask

# What needs a response that is kept, or another one that was; and the value that says nothing.
_ALONE: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "store": (None, False),
    "previous_response_id": (None,),
    "truncation": (None, "disabled"),
}


def asked(shape: Ask, max_tokens: int) -> Asked:
    """`max_tokens`: of an answer without a limit of its own; 0: what the context leaves. Raises InvalidInput."""
    for name, allowed in _ALONE.items():
        if getattr(shape, name) not in allowed:
            raise InvalidInput(f"{name} has no place in a batch; leave it out", param=name)
    shape.checked()
    items = response_items.items(shape.input)
    limit = shape.max_output_tokens
    if limit is None:
        limit = max_tokens or None
    spec = shape.job(response_items.messages(items), 1 if limit is None else limit)
    kept = shape.asking(items).asked | {"store": False}

    def answer(
        head: dict[str, Any], results: Sequence[dict[str, Any]], usages: Sequence[dict[str, Any]]
    ) -> Any:
        return response_answers.whole(_job(head, spec, results[0], usages[0]), kept)

    return Asked([spec], NAMES, limit is None, answer, "resp", "response")


def _job(
    head: dict[str, Any], spec: InferenceJob, result: dict[str, Any], usage: dict[str, Any]
) -> Job:
    """A line that was answered, as the job that it would have been."""
    at = datetime.fromtimestamp(head["created"], UTC)
    return Job(
        id="job_" + head["id"].removeprefix("resp-"), state=State.SUCCEEDED, model=head["model"],
        priority=spec.priority, labels=spec.metadata, spec=spec.model_dump(), created_at=at,
        finished_at=at, result=result, usage=usage,
    )  # fmt: skip
