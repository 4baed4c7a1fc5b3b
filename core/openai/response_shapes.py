"""What POST /v1/responses takes: each field honoured, recorded, or refused by its name."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.errors import InvalidInput
from core.jobs.caching import CacheWish
from core.jobs.kinds import InferenceJob, MetadataKey, MetadataValue
from core.jobs.messages import Name
from core.jobs.responses import Asking
from core.jobs.sampling import storable
from core.jobs.structured import sound_schema
from core.ledger.caps import MaxCost, MaxTokensTotal
from core.openai import response_items, shapes
from core.openai.shapes import CacheOptions, CacheRetention, Refused

LOGPROBS = "message.output_text.logprobs"
# What the spec calls otherwise than this request.
NAMES = {"messages": "input", "max_tokens": "max_output_tokens", "structured": "text",
         "logprobs": "top_logprobs", "prompt": "input"}  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _schema(value: Any) -> Any:
    return sound_schema(value) if isinstance(value, dict) else value


class Format(_Strict):
    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, BeforeValidator(_schema)] = Field(
        None, alias="schema"
    )
    strict: bool | None = Field(None, description="always so")

    @model_validator(mode="after")
    def _told(self) -> "Format":
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("schema goes with type json_schema, and only with it")
        if (self.type == "json_schema") != (self.name is not None):
            raise ValueError("name goes with type json_schema, and only with it")
        return self

    def structured(self) -> dict[str, Any] | None:
        if self.schema_ is not None:
            return {"json_schema": self.schema_}
        return {"json_object": True} if self.type == "json_object" else None


class TextOptions(_Strict):
    format: Format | None = None
    verbosity: Annotated[Any, Refused("Say it in the prompt.", ("medium",))] = None


class FunctionTool(_Strict):
    type: Annotated[Any, Refused("Only functions can be called.", ("function",))]
    name: Name
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, BeforeValidator(_schema)] = None
    strict: bool | None = None
    allowed_callers: Annotated[Any, Refused("", (["direct"],))] = None
    defer_loading: Annotated[Any, Refused("", (False,))] = None
    async_: Annotated[Any, Refused("", (False,))] = Field(None, alias="async")
    output_schema: Annotated[Any, Refused()] = None

    def chat(self) -> dict[str, Any]:
        named = self.model_dump(include={"name", "description", "parameters", "strict"})
        return {"type": "function", "function": {k: v for k, v in named.items() if v is not None}}


class BackgroundOptions(_Strict):
    completion_window: Literal["soonest", "2h", "8h"] | None = None
    continuation_id: Annotated[Any, Refused()] = None


class Reasoning(_Strict):
    effort: Annotated[Any, Refused("Models answer at once.", ("none",))] = None
    summary: Annotated[Any, Refused("Models answer at once.")] = None
    generate_summary: Annotated[Any, Refused("Models answer at once.")] = None


class StreamOptions(_Strict):
    include_obfuscation: bool | None = None


_INPUT = Field(
    description="a text, or items: message, function_call, function_call_output, item_reference"
)


class Prompted(_Strict):
    """What a prompt is made of: the fields that counting its tokens needs."""

    model: str
    input: Any = _INPUT
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[FunctionTool] | None = Field(None, max_length=128)
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    conversation: Annotated[Any, Refused("Use previous_response_id.")] = None

    def called(self) -> tuple[list[dict[str, Any]] | None, Any]:
        """Tools and tool_choice as a chat has them. Raises InvalidInput."""
        tools = [tool.chat() for tool in self.tools or ()] or None
        match self.tool_choice:
            case None | "none" | "auto" | "required":
                return tools, self.tool_choice
            case {"type": "function", "name": str(name)} if len(self.tool_choice) == 2:
                return tools, {"type": "function", "function": {"name": name}}
            case {
                "type": "allowed_tools",
                "mode": "auto" | "required" as mode,
                "tools": list(some),
            }:
                return self._allowed(tools or [], some), mode
        raise InvalidInput(
            'tool_choice must be "none", "auto", "required", {"type": "function", "name": "..."} or '
            '{"type": "allowed_tools", "mode": "...", "tools": [...]}; other tools are not supported',
            param="tool_choice",
            code="unsupported_value",
        )

    def _allowed(self, tools: list[dict[str, Any]], some: list[Any]) -> list[dict[str, Any]]:
        names = {tool["function"]["name"] for tool in tools}
        for one in some:
            if not (
                isinstance(one, dict) and one.get("type") == "function" and one.get("name") in names
            ):
                raise InvalidInput(
                    f"tool_choice: {one!r} is none of tools", param="tool_choice.tools"
                )
        wanted = {one["name"] for one in some}
        return [tool for tool in tools if tool["function"]["name"] in wanted]

    def spec(self, said: list[dict[str, Any]], fields: dict[str, Any]) -> InferenceJob:
        """The ordinary job. `said`: the conversation with the input. Raises InvalidInput."""
        tools, choice = self.called()
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        form = self.text.format.structured() if self.text and self.text.format else None
        try:
            return shapes.job(
                {"model": self.model, "messages": first + said, "tools": tools, "tool_choice": choice,
                 "parallel_tool_calls": self.parallel_tool_calls, "structured": form, **fields},
                NAMES,
            )  # fmt: skip
        except InvalidInput as error:
            # Its index would count the messages, not the items.
            if (error.param or "").startswith("input."):
                raise InvalidInput(error.message, param="input", code=error.code) from error
            raise


class Ask(Prompted):
    background: bool | None = None
    background_options: BackgroundOptions | None = None
    include: list[Annotated[Any, Refused("", (LOGPROBS,))]] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = Field(None, ge=1, description="of built-in tools: there are none")
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    safety_identifier: str | None = Field(None, max_length=128)
    prompt_cache_key: str | None = Field(None, max_length=512)
    service_tier: Annotated[
        Any, Refused("flex waits behind interactive jobs.", ("auto", "default", "flex"))
    ] = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    top_p: float | None = None
    user: str | None = Field(None, max_length=512)
    access_programs: Annotated[Any, Refused()] = None
    context_management: Annotated[Any, Refused("Nothing is dropped.")] = None
    image: Annotated[
        Any,
        Refused(
            "Text is all there is.", tuple({"context_compression": c} for c in ("auto", "disabled"))
        ),
    ] = None
    moderation: Annotated[Any, Refused()] = None
    prompt: Annotated[Any, Refused("Send its text.")] = None
    prompt_cache_options: CacheOptions = None
    prompt_cache_retention: CacheRetention = None
    # Beyond OpenAI's.
    cache: CacheWish | None = None
    max_cost: MaxCost = None
    max_tokens_total: MaxTokensTotal = None
    idempotency_key: str | None = Field(None, description="the Idempotency-Key header, in the body")

    @property
    def stored(self) -> bool:
        return self.store is not False

    @property
    def padded(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_obfuscation)

    @property
    def window(self) -> str | None:
        if self.background_options is None:
            return None
        chosen = self.background_options.completion_window
        return None if chosen == "soonest" else chosen

    def checked(self) -> None:
        """The rules between fields. Raises InvalidInput."""
        if self.background and not self.stored:
            raise InvalidInput("A background response must be stored, to be read", param="store")
        if self.stream_options is not None and not self.stream:
            raise InvalidInput("stream_options needs stream: true", param="stream_options")
        if self.background_options is not None and not self.background:
            raise InvalidInput("background_options needs background", param="background_options")
        if self.window and self.stream:
            raise InvalidInput(
                f"completion_window {self.window} goes with stream: false",
                param="background_options.completion_window",
            )

    def job(self, said: list[dict[str, Any]], max_tokens: int) -> InferenceJob:
        shown = LOGPROBS in (self.include or ()) or self.top_logprobs is not None
        slow = self.service_tier == "flex" or self.window
        return self.spec(
            said,
            {
                "max_tokens": max_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "logprobs": (self.top_logprobs or 0) if shown else None,
                "metadata": self.metadata or {},
                "priority": "batch" if slow else "interactive",
                "completion_window": self.window,
                "max_cost": self.max_cost,
                "max_tokens_total": self.max_tokens_total,
                "idempotency_key": self.idempotency_key,
                "cache": self.cache.model_dump() if self.cache is not None else None,
            },
        )

    def asking(self, input_items: list[response_items.Item]) -> Asking:
        """What is kept beside the job. Raises InvalidInput for what Postgres cannot keep."""
        skip = {"input", "metadata", "idempotency_key", "stream", "stream_options", "cache"}
        asked = self.model_dump(exclude=skip, exclude_none=True, by_alias=True)
        for name, value in (asked | {"input": input_items}).items():
            try:
                storable(value)
            except ValueError as error:
                raise InvalidInput(f"{name}: {error}", param=name) from error
        return Asking(asked | {"input": input_items}, bool(self.background), self.stored)
