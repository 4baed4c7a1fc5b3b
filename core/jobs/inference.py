"""The inference kind: what may be asked, what comes back, and how text so far is summed up."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from core.errors import InvalidInput

KIND = "inference"
Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def no_nul(value: str) -> str:
    """Postgres cannot hold U+0000 in text; say so instead of failing later."""
    if "\x00" in value:
        raise ValueError("contains a NUL character (U+0000); remove it")
    # A lone surrogate has no UTF-8 form, so it can be neither stored nor tokenised.
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("contains a lone surrogate; send valid Unicode")
    return value


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=1_000_000)

    _clean = field_validator("content")(no_nul)


class Sampling(BaseModel):
    """Decoding settings, shared by every surface that generates text.

    Strict: "5" or true for a number is a client's mistake, and it should hear of it.
    """

    model_config = ConfigDict(extra="forbid")
    max_tokens: int = Field(100, ge=1, le=1_000_000, strict=True)
    temperature: float = Field(0.8, ge=0, le=2, allow_inf_nan=False, strict=True)
    top_k: int = Field(50, ge=-1, le=1_000_000, strict=True, description="-1 or 0: no limit")
    top_p: float = Field(0.95, gt=0, le=1, allow_inf_nan=False, strict=True)


# What _one_input checks, in the words of JSON Schema, for clients that read the API's description.
_ONE_INPUT: dict[str, Any] = {
    "oneOf": [
        {"required": ["prompt"], "properties": {"prompt": {"type": "string", "minLength": 1},
                                                "messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"messages": {"type": "array", "minItems": 1},
                                                  "prompt": {"type": "null"}}},
    ]
}  # fmt: skip


class InferenceSpec(Sampling):
    model_config = ConfigDict(json_schema_extra=_ONE_INPUT)
    kind: Literal["inference"] = "inference"
    model: str = Field("", max_length=256, description="empty: the default model")
    prompt: str | None = Field(None, max_length=1_000_000)
    messages: list[Message] | None = Field(None, max_length=1000)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1, strict=True)
    stop: list[Stop] = Field(default_factory=list, max_length=16)

    _clean = field_validator("prompt", "model")(lambda v: v if v is None else no_nul(v))
    _clean_stop = field_validator("stop")(lambda v: [no_nul(s) for s in v])

    @model_validator(mode="after")
    def _one_input(self) -> "InferenceSpec":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of prompt and messages")
        if self.prompt == "" or self.messages == []:
            raise ValueError("prompt or messages is empty; give at least one character or message")
        return self


def check_length(prompt_tokens: int, max_tokens: int, context: int) -> None:
    """Raises InvalidInput when the prompt leaves no room for an answer of `max_tokens`."""
    if prompt_tokens + max_tokens > context:
        raise InvalidInput(
            f"The prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}; the model's "
            f"context holds {context}. Shorten the prompt or lower max_tokens to at most "
            f"{max(context - prompt_tokens, 0)}.",
            param="prompt" if prompt_tokens >= context else "max_tokens",
            code="context_length_exceeded",
        )


def partial(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of an unfinished answer; the token ids stay inside."""
    return {"text": progress.get("text", "")} if progress is not None else None


def join(progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Progress with what later log entries added: {"text", "tokens", "finish"?}."""
    whole: dict[str, Any] = {"text": "", "tokens": [], **(progress or {})}
    texts, ids = [whole["text"]], list(whole["tokens"])
    for part in said:
        texts.append(part.get("text", ""))
        ids += part.get("tokens", ())
        if part.get("finish"):
            whole["finish"] = part["finish"]
    return {**whole, "text": "".join(texts), "tokens": ids}
