"""Decoding settings: how the next token is chosen, on every surface that generates text."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]
TokenId = Annotated[str, StringConstraints(pattern=r"^(0|[1-9]\d{0,8})$")]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
MAX_CHOICES = 16
# vLLM's own limit; more is a research question, and costs seconds a token.
MAX_LOGPROBS = 20


def no_nul(value: str) -> str:
    """Postgres cannot hold U+0000 in text; say so instead of failing later."""
    if "\x00" in value:
        raise ValueError("contains a NUL character (U+0000); remove it")
    # A lone surrogate has no UTF-8 form, so it can be neither stored nor tokenised.
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("contains a lone surrogate; send valid Unicode")
    return value


def storable(value: Any, depth: int = 64) -> Any:
    """Free-form JSON that Postgres and the engine can hold; raises ValueError saying what they cannot."""
    if depth < 0:
        raise ValueError("nests over 64 levels deep; flatten it")
    match value:
        case str():
            no_nul(value)
        case int() if abs(value) > 2**63 - 1:
            raise ValueError("contains an integer beyond 64 bits")
        case float() if not math.isfinite(value):
            raise ValueError("contains a number that JSON does not have")
        case dict():
            for name, inner in value.items():
                no_nul(name)
                storable(inner, depth - 1)
        case list():
            for inner in value:
                storable(inner, depth - 1)
    return value


class Sampling(BaseModel):
    """What the short way and the full one share.

    Strict: "5" or true for a number is a client's mistake, and it should hear of it.
    """

    model_config = ConfigDict(extra="forbid")
    max_tokens: int = Field(100, ge=1, le=1_000_000, strict=True)
    temperature: float = Field(0.8, ge=0, le=2, allow_inf_nan=False, strict=True)
    top_k: int = Field(50, ge=-1, le=1_000_000, strict=True, description="-1 or 0: no limit")
    top_p: float = Field(0.95, gt=0, le=1, allow_inf_nan=False, strict=True)


class FullSampling(Sampling):
    """Every knob of decoding that the engine has and an answer can be continued under."""

    max_tokens: int = Field(
        100, ge=0, le=1_000_000, strict=True, description="0: only score the prompt"
    )
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1, strict=True)
    stop: list[Stop] = Field(default_factory=list, max_length=16)
    n: int = Field(1, ge=1, le=MAX_CHOICES, strict=True, description="answers to one prompt")
    presence_penalty: float = Field(0.0, ge=-2, le=2, allow_inf_nan=False, strict=True)
    frequency_penalty: float = Field(0.0, ge=-2, le=2, allow_inf_nan=False, strict=True)
    repetition_penalty: float = Field(1.0, gt=0, le=10, allow_inf_nan=False, strict=True)
    min_p: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, strict=True)
    min_tokens: int = Field(0, ge=0, le=1_000_000, strict=True)
    ignore_eos: bool = Field(False, strict=True)
    logit_bias: dict[TokenId, Bias] | None = Field(
        None, max_length=1024, description="token id -> what is added to its logit"
    )
    logprobs: int | None = Field(
        None, ge=0, le=MAX_LOGPROBS, strict=True,
        description="alternatives shown with each token; 0: the chosen one only",
    )  # fmt: skip
    prompt_logprobs: int | None = Field(
        None, ge=0, le=MAX_LOGPROBS, strict=True, description="the same for the prompt's tokens"
    )
