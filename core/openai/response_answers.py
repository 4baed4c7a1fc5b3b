"""A response as OpenAI's clients read it: the job's state and output, and the request it came from."""

from typing import Any

from core.jobs.job import TERMINAL, Job, State
from core.jobs.responses import response_id
from core.openai import answers, response_output

_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
    State.EXPIRED: "failed",
}
# Fields of the request that the response repeats, and what stands for one that was not sent.
_REPEATED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "previous_response_id": None,
    "prompt_cache_key": None, "prompt_cache_retention": None, "safety_identifier": None, "user": None,
    "prompt_cache_options": None,
    "temperature": 1.0, "top_p": 1.0, "top_logprobs": 0, "tool_choice": "auto", "parallel_tool_calls": True,
    "background": False, "store": True, "truncation": "disabled",
}  # fmt: skip


# Why an answer is not whole, by how it ended.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _finish(job: Job) -> str:
    return str(answers.choices(job.result or {})[0]["finish_reason"])


def status(job: Job) -> str:
    if job.state == State.SUCCEEDED:
        return "incomplete" if _finish(job) in _INCOMPLETE else "completed"
    return _STATUS[State(job.state)]


def whole(job: Job, asked: dict[str, Any]) -> dict[str, Any]:
    """The response object of a job as it stands."""
    told = status(job)
    output = [item.shown(begun=False) for item in response_output.ended(job)]
    if State(job.state) not in TERMINAL:
        output = [item | {"status": "in_progress"} for item in output]
    done = job.finished_at.timestamp() if job.finished_at is not None else None
    return _head(job, asked) | {
        "status": told,
        "completed_at": int(done) if done is not None and told == "completed" else None,
        "error": _error(job),
        "incomplete_details": {"reason": _INCOMPLETE[_finish(job)]}
        if told == "incomplete"
        else None,
        "output": output,
        "usage": None if job.usage is None else usage(job.usage),
    }


def _head(job: Job, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": response_id(job.id),
        "object": "response",
        "created_at": int(job.created_at.timestamp()),
        "model": job.model,
        "metadata": job.labels,
        **{name: asked.get(name, default) for name, default in _REPEATED.items()},
        "tools": [_tool(tool) for tool in asked.get("tools", ())],
        "text": {
            "format": asked.get("text", {}).get("format", {"type": "text"}),
            "verbosity": "medium",
        },
        # There is none of these: said, as OpenAI does, and not left out.
        **dict.fromkeys(("conversation", "prompt", "moderation")),
        "reasoning": {"effort": "none", "summary": None},
        "service_tier": "flex" if job.priority == "batch" else "default",
    }


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {"description": None, "parameters": None, "strict": True, **tool}


def _error(job: Job) -> dict[str, Any] | None:
    if job.state not in (State.FAILED, State.EXPIRED):
        return None
    known = answers.failure(job.id, job.state, job.error)
    # The client's type knows a closed list of codes; ours is in the type, for programs.
    return {
        "code": "server_error",
        "message": known["message"],
        "param": None,
        "type": known["code"],
    }


def usage(used: dict[str, Any]) -> dict[str, Any]:
    total = answers.usage(used)
    return {
        **({"cache": total["cache"]} if "cache" in total else {}),
        "input_tokens": total["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": total["prompt_tokens_details"]["cached_tokens"],
            "cache_write_tokens": 0,
        },
        "output_tokens": total["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total["total_tokens"],
    }


def early(job: Job, asked: dict[str, Any], told: str) -> dict[str, Any]:
    """The response as it was before anything was said: the same on every replay."""
    nothing: dict[str, Any] = {
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    return _head(job, asked) | {"status": told, **nothing}
