"""A chat completion made of a job's result."""

from dataclasses import dataclass
from typing import Any

from core.openai import answers, functions, likely


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer repeats of its request. `old`: that called tools functions."""

    tier: str
    metadata: dict[str, str] | None = None
    old: bool = False


def whole(
    head: dict[str, Any],
    result: dict[str, Any],
    usage: dict[str, Any] | None,
    told: Told,
) -> dict[str, Any]:
    """The chat.completion of a job that succeeded."""
    return {
        **head,
        "choices": [_choice(one, old=told.old) for one in answers.choices(result)],
        "usage": answers.usage(usage),
        "service_tier": told.tier,
        "metadata": told.metadata,
    }


def _choice(one: dict[str, Any], *, old: bool) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": one["content"] if "content" in one else one["text"],
        "refusal": None,
    }
    if one.get("tool_calls"):
        message |= functions.calls(one["tool_calls"], old=old)
    scored = one.get("logprobs")
    return {
        "index": one["index"],
        "message": message,
        "logprobs": None if scored is None else likely.chat(scored),
        "finish_reason": functions.finish(one["finish_reason"], old=old),
    }
