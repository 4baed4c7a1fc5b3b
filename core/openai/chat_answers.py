"""A chat completion made of a job's result."""

from typing import Any

from core.openai import answers, likely


def whole(
    head: dict[str, Any], result: dict[str, Any], usage: dict[str, Any] | None, tier: str
) -> dict[str, Any]:
    """The chat.completion of a job that succeeded."""
    return {
        **head,
        "choices": [_choice(one) for one in answers.choices(result)],
        "usage": answers.usage(usage),
        "service_tier": tier,
    }


def _choice(one: dict[str, Any]) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": one["content"] if "content" in one else one["text"],
        "refusal": None,
    }
    if one.get("tool_calls"):
        message["tool_calls"] = one["tool_calls"]
    told = one.get("logprobs")
    return {
        "index": one["index"],
        "message": message,
        "logprobs": None if told is None else likely.chat(told),
        "finish_reason": one["finish_reason"],
    }
