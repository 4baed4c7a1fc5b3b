"""The messages of a conversation, and the tools it may call, as chat templates want them."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from core.jobs.sampling import no_nul, storable
from core.jobs.structured import sound_schema

MAX_TEXT = 1_000_000
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_CONTENT: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_TEXT},
        {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["type", "text"], "additionalProperties": False,
            "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}},
        {"type": "null"},
    ]
}  # fmt: skip


def _joined(value: Any) -> Any:
    """Text parts as one text, a line each, which is what templates written for strings expect."""
    if not isinstance(value, list):
        return value
    texts = []
    for number, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise ValueError(f"part {number} is of type {kind!r}; only text parts are supported")
        if set(part) != {"type", "text"} or not isinstance(part["text"], str):
            raise ValueError(f'part {number} must be {{"type": "text", "text": "..."}}')
        texts.append(part["text"])
    if not texts:
        raise ValueError("has no parts; give a string or at least one text part")
    return "\n".join(texts)


class Called(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name
    arguments: str = Field(max_length=MAX_TEXT, description="JSON, as the model wrote it")

    _clean = field_validator("arguments")(no_nul)


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(min_length=1, max_length=256)
    type: Literal["function"] = "function"
    function: Called

    _clean = field_validator("id")(no_nul)


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    name: str | None = Field(None, max_length=256)
    tool_call_id: str | None = Field(None, max_length=256)
    tool_calls: list[ToolCall] | None = Field(None, min_length=1, max_length=128)
    # Last, so that its rule sees the others.
    content: Annotated[
        Annotated[str, StringConstraints(max_length=MAX_TEXT)] | None,
        BeforeValidator(_joined),
        WithJsonSchema(_CONTENT),
    ]

    _clean = field_validator("name", "tool_call_id")(lambda v: v if v is None else no_nul(v))

    @model_validator(mode="before")
    @classmethod
    def _silent(cls, value: Any) -> Any:
        """An assistant that only calls tools may leave its content out."""
        if isinstance(value, dict) and value.get("tool_calls") and "content" not in value:
            return {**value, "content": None}
        return value

    @field_validator("content")
    @classmethod
    def _said(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and not info.data.get("tool_calls"):
            raise ValueError("must be a string; only a message with tool_calls may have none")
        return value if value is None else no_nul(value)

    @model_serializer(mode="wrap")
    def _spoken(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the fields that are not there: templates ask `'tool_calls' in message`."""
        return {k: v for k, v in plain(self).items() if v is not None or k == "content"}

    @property
    def size(self) -> int:
        """Bytes, roughly, for a first guess at its tokens."""
        calls = sum(len(c.function.arguments) + 64 for c in self.tool_calls or ())
        return len((self.content or "").encode()) + calls


def _sound_parameters(value: dict[str, Any] | None) -> dict[str, Any] | None:
    return value if value is None else sound_schema(value)


class Function(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name
    description: str | None = Field(None, max_length=32_768)
    parameters: dict[str, Any] | None = Field(None, description="a JSON schema")
    strict: bool | None = Field(None, description="required and named calls are always strict")

    _clean = field_validator("description")(lambda v: v if v is None else no_nul(v))
    _sound = field_validator("parameters")(_sound_parameters)

    @property
    def schema_(self) -> dict[str, Any]:
        return self.parameters or {
            "type": "object",
            "properties": {},
            "additionalProperties": False,
        }


class Tool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["function"]
    function: Function


def _choice(value: Any) -> Any:
    """One of three words, or the name of a function."""
    if value is None or value in ("none", "auto", "required"):
        return value
    match value:
        case {"type": "function", "function": {"name": str(name)}} if len(value) == 2:
            if set(value["function"]) == {"name"}:
                return {"type": "function", "function": {"name": no_nul(name)}}
    raise ValueError(
        'must be "none", "auto", "required" or {"type": "function", "function": {"name": "..."}}'
    )


ToolChoice = Annotated[
    str | dict[str, Any] | None,
    BeforeValidator(_choice),
    WithJsonSchema(
        {"anyOf": [
            {"enum": ["none", "auto", "required", None]},
            {"type": "object", "required": ["type", "function"], "additionalProperties": False,
             "properties": {"type": {"const": "function"}, "function": {
                 "type": "object", "required": ["name"], "additionalProperties": False,
                 "properties": {"name": {"type": "string"}}}}},
        ]}
    ),
]  # fmt: skip


def for_template(messages: list[Message]) -> list[dict[str, Any]]:
    """What a chat template iterates over: content is text, arguments are objects where they are JSON."""
    spoken = [message.model_dump() for message in messages]
    for message in spoken:
        message["content"] = message["content"] or ""
        for call in message.get("tool_calls", ()):
            try:
                call["function"]["arguments"] = orjson.loads(call["function"]["arguments"])
            except orjson.JSONDecodeError:
                continue
    return spoken


def checked(tools: list[Tool] | None) -> list[Tool] | None:
    """Raises ValueError for two tools of one name."""
    names = [tool.function.name for tool in tools or ()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"has two functions named {twice!r}")
    storable([tool.model_dump() for tool in tools or ()])
    return tools
