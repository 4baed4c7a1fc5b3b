"""What POST /v1/chat/completions takes: each field honoured, recorded, or refused by its name."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.errors import InvalidInput
from core.jobs.kinds import InferenceJob
from core.jobs.messages import Function, Message, Tool, ToolChoice
from core.jobs.structured import sound_schema
from core.openai import shapes
from core.openai.chat_answers import Told
from core.openai.functions import FunctionCall, as_tools, tool_choice
from core.openai.shapes import Asked, CacheOptions, CacheRetention, Refused

# What the client library writes into an assistant's message that it read from us.
_EMPTY = ("refusal", "annotations", "audio", "function_call", "tool_calls", "name")


def _lean(value: Any) -> Any:
    """Messages without the fields that say nothing; clients send back what they were given."""
    if not isinstance(value, list):
        return value
    return [
        as_tools({k: v for k, v in m.items() if v or k not in _EMPTY}) if isinstance(m, dict) else m
        for m in value
    ]


def _schema(value: Any) -> Any:
    return sound_schema(value) if isinstance(value, dict) else value


class JsonSchema(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = None
    schema_: Annotated[dict[str, Any], BeforeValidator(_schema)] = Field(alias="schema")
    strict: bool | None = Field(None, description="always so")


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _told(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with type json_schema, and only with it")
        return self

    def structured(self) -> dict[str, Any] | None:
        if self.json_schema is not None:
            return {"json_schema": self.json_schema.schema_}
        return {"json_object": True} if self.type == "json_object" else None


class Chat(Asked):
    messages: Annotated[list[Message], BeforeValidator(_lean)] = Field(
        min_length=1, max_length=1000
    )
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, min_length=1, max_length=128)
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = Field(None, min_length=1, max_length=128)
    function_call: FunctionCall = None
    # Kept with the job.
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    # A hint where to route to; the prefix cache finds what it has without it.
    prompt_cache_key: str | None = None
    service_tier: Annotated[
        Any, Refused("flex waits behind interactive jobs.", ("auto", "default", "flex"))
    ] = None
    store: Annotated[Any, Refused("Jobs are kept anyway: GET /v1/jobs.", (False,))] = None
    modalities: Annotated[Any, Refused("Text is all there is.", (["text"],))] = None
    reasoning_effort: Annotated[Any, Refused("Models answer at once.", ("none",))] = None
    verbosity: Annotated[Any, Refused("Say it in the prompt.", ("medium",))] = None
    audio: Annotated[Any, Refused("Text is all there is.")] = None
    moderation: Annotated[Any, Refused()] = None
    prediction: Annotated[Any, Refused()] = None
    prompt_cache_options: CacheOptions = None
    prompt_cache_retention: CacheRetention = None
    web_search_options: Annotated[Any, Refused()] = None

    @property
    def names(self) -> dict[str, str]:
        """What this request calls the spec's fields."""
        newer = {"max_tokens": "max_completion_tokens"} if self.max_tokens is None else {}
        older = {"tools": "functions", "tool_choice": "function_call"} if self.functions else {}
        return {"structured": "response_format"} | newer | older

    def told(self, tier: str) -> Told:
        """What the answer takes from the request."""
        return Told(tier, self.metadata, old=self.functions is not None)

    def _called(self) -> dict[str, Any]:
        """The functions that may be called, under either name. Raises InvalidInput."""
        if self.functions is None:
            if self.function_call is not None:
                raise InvalidInput("function_call needs functions", param="function_call")
            return {
                "tools": [t.model_dump() for t in self.tools] if self.tools else None,
                "tool_choice": self.tool_choice,
                "parallel_tool_calls": self.parallel_tool_calls,
            }
        if self.tools is not None or self.tool_choice is not None:
            raise InvalidInput("functions is the old name of tools; send one", param="functions")
        return {
            "tools": [{"type": "function", "function": f.model_dump()} for f in self.functions],
            "tool_choice": tool_choice(self.function_call),
            # The old form of an answer has room for one call.
            "parallel_tool_calls": False,
        }

    def limit(self) -> int | None:
        """Tokens the answer may have; None when the request does not say."""
        if self.max_tokens is not None and self.max_completion_tokens not in (
            None,
            self.max_tokens,
        ):
            raise InvalidInput(
                "max_completion_tokens differs from max_tokens; send one of them",
                param="max_completion_tokens",
            )
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    def job(self, max_tokens: int) -> InferenceJob:
        """Raises InvalidInput naming the field at fault as this surface calls it."""
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidInput("top_logprobs needs logprobs: true", param="top_logprobs")
        fields = self.common()
        form = self.response_format.structured() if self.response_format is not None else None
        if form is not None and fields["structured"] is not None:
            raise InvalidInput("structured and response_format: send one", param="structured")
        labels = {**(self.metadata or {}), **fields["metadata"]}
        if self.safety_identifier is not None:
            labels["safety_identifier"] = self.safety_identifier
        return shapes.job(
            fields
            | {
                "messages": [m.model_dump() for m in self.messages],
                "max_tokens": max_tokens,
                "logprobs": (self.top_logprobs or 0) if self.logprobs else None,
                "structured": form or fields["structured"],
                **self._called(),
                "metadata": labels,
                "priority": "batch" if self.service_tier == "flex" else "interactive",
            },
            self.names,
        )
