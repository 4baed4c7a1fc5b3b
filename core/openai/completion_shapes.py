"""What POST /v1/completions takes: each field honoured, recorded, or refused by its name."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from core.errors import InvalidInput
from core.jobs.inference import sound_prompt
from core.jobs.kinds import InferenceJob
from core.openai import shapes
from core.openai.shapes import Asked, Refused

# OpenAI's default for this route.
DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = 128
NAMES = {"messages": "prompt"}


def _prompts(value: Any) -> list[Any]:
    """A text, token ids, or a list of either: always as a list of prompts."""
    several = isinstance(value, list) and (not value or not isinstance(value[0], int))
    prompts = value if several else [value]
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise ValueError(f"must be 1 to {MAX_PROMPTS} prompts; send more as several requests")
    for prompt in prompts:
        if prompt is None or len(sound_prompt(prompt)) == 0:
            raise ValueError("is empty; give at least one character or token")
    return prompts


_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}


class Completion(Asked):
    prompt: Annotated[
        list[Any],
        BeforeValidator(_prompts),
        WithJsonSchema(
            {"anyOf": [_TEXT, _IDS, *({"type": "array", "items": one, "minItems": 1,
                                       "maxItems": MAX_PROMPTS} for one in (_TEXT, _IDS))]}
        ),
    ]  # fmt: skip
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    best_of: Annotated[Any, Refused("Ask for n and choose yourself.", (1,))] = None
    suffix: Annotated[Any, Refused("Put it into the prompt.")] = None

    def jobs(self) -> list[InferenceJob]:
        """One for each prompt. Raises InvalidInput naming the field at fault."""
        limit = DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens
        if limit == 0 and not self.echo:
            raise InvalidInput(
                "max_tokens is 0: ask for at least 1, or for echo too", param="max_tokens"
            )
        # Scoring a prompt is what an answer of no tokens is for; it needs no more than the tokens' own.
        scored = self.logprobs if self.echo else None
        if limit == 0 and scored is None:
            scored = 0
        fields = self.common() | {
            "max_tokens": limit,
            "logprobs": self.logprobs,
            "prompt_logprobs": scored,
        }
        return [shapes.job(fields | {"prompt": prompt}, NAMES) for prompt in self.prompt]
