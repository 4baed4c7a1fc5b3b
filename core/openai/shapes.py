"""What the families of OpenAI's text surface have in common: fields, refusals, and the way to a job of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import core_schema

from core.errors import InvalidInput
from core.jobs.caching import CacheWish
from core.jobs.kinds import InferenceJob
from core.jobs.structured import Structured
from core.ledger.caps import MaxCost, MaxTokensTotal

J = TypeVar("J", bound=BaseModel)


@dataclass(frozen=True)
class Refused:
    """Marks a field that OpenAI has and we do not: null and what is in `but` say nothing, all else is refused."""

    instead: str = ""
    but: tuple[Any, ...] = ()

    def check(self, value: Any) -> Any:
        if value is not None and value not in self.but:
            allowed = f" Only {', '.join(map(repr, self.but))} is." if self.but else ""
            raise ValueError(f"is not supported here.{allowed} {self.instead}".strip())
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"enum": [None, *self.but]}


CacheOptions = Annotated[
    Any, Refused("The prefix cache keeps what it has room for.", ({"mode": "implicit"},))
]
CacheRetention = Annotated[Any, Refused("The prefix cache lives in memory.", ("in_memory",))]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stop = Annotated[
    list[str] | None,
    BeforeValidator(_listed),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}},
                   {"type": "null"}]}
    ),
]  # fmt: skip


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Asked(BaseModel):
    """Types are checked here, ranges by the job's own spec: one rule for every surface."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    # Beyond OpenAI's, for clients that send them in extra_body.
    top_k: int | None = None
    min_p: float | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    ignore_eos: bool | None = None
    structured: Structured | None = None
    cache: CacheWish | None = None
    completion_window: str | None = None
    max_cost: MaxCost = None
    max_tokens_total: MaxTokensTotal = None
    idempotency_key: str | None = Field(None, description="the Idempotency-Key header, in the body")

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def padded(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_obfuscation)

    def common(self) -> dict[str, Any]:
        """These fields as the spec names them; what was not given is left to `job`."""
        given = {name: getattr(self, name) for name in _COMMON}
        labels = {"user": self.user} if self.user is not None else {}
        structured = self.structured.model_dump() if self.structured is not None else None
        cache = self.cache.model_dump() if self.cache is not None else None
        return {**given, "metadata": labels, "structured": structured, "cache": cache}


_COMMON = (
    "frequency_penalty", "logit_bias", "n", "presence_penalty", "seed", "stop", "temperature", "top_p",
    "top_k", "min_p", "min_tokens", "repetition_penalty", "ignore_eos", "completion_window", "model", "idempotency_key",
    "max_cost", "max_tokens_total",
)  # fmt: skip
# OpenAI's defaults, which are not ours: nothing is cut off and nothing is sharpened.
_THEIRS: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": -1}


def job(fields: Mapping[str, Any], names: Mapping[str, str]) -> InferenceJob:
    """The ordinary job that a request asks for. `names`: what this surface calls a field of the spec.

    Raises InvalidInput naming the field as the client knows it.
    """
    return sound(InferenceJob, {"kind": "inference", **_THEIRS, **_given(fields)}, names)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def sound(spec: type[J], fields: Mapping[str, Any], names: Mapping[str, str]) -> J:
    """The spec of these fields. Raises InvalidInput naming the field as the client knows it."""
    try:
        return spec.model_validate(_given(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = [str(part) for part in first["loc"]]
        param = ".".join([names.get(where[0], where[0]), *where[1:]]) if where else None
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(
            f"{param}: {message}" if param else message, param=param, code=str(first["type"])
        ) from error


def renamed(error: InvalidInput, names: Mapping[str, str]) -> InvalidInput:
    """The same complaint about the field as this surface calls it."""
    param = names.get(error.param or "", error.param)
    return InvalidInput(error.message, param=param, code=error.code)
