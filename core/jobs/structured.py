"""Answers that must have a form: a JSON schema, a regular expression, a choice or a grammar.

Checked here with the library that the engine enforces them with (workers/vllm_engine.py), so that what is
accepted is also what can be served.
"""

from typing import Any, Literal

import orjson
from llguidance import LLMatcher, grammar_from
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.jobs.sampling import no_nul, storable

KINDS = ("json_schema", "regex", "choice", "grammar", "json_object")
_LONGEST_ERROR = 300


def _verdict(grammar: str) -> None:
    error = LLMatcher.validate_grammar(grammar)
    if error:
        raise ValueError(f"cannot be used: {error.strip()[:_LONGEST_ERROR]}")


def sound_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself. Raises ValueError when it is malformed or uses what the engine cannot enforce."""
    storable(schema)
    _verdict(LLMatcher.grammar_from_json_schema(orjson.dumps(schema).decode()))
    return schema


def _sound(kind: Literal["regex", "grammar"], value: str) -> str:
    no_nul(value)
    try:
        grammar = grammar_from(kind, value)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"cannot be used: {str(error)[:_LONGEST_ERROR]}") from error
    _verdict(grammar)
    return value


class Structured(BaseModel):
    """Exactly one of these."""

    model_config = ConfigDict(extra="forbid")
    json_schema: dict[str, Any] | None = None
    regex: str | None = Field(None, min_length=1, max_length=10_000)
    choice: list[str] | None = Field(None, min_length=1, max_length=1000)
    grammar: str | None = Field(None, min_length=1, max_length=100_000, description="Lark or GBNF")
    json_object: Literal[True] | None = Field(None, description="any JSON object")

    @field_validator("json_schema")
    @classmethod
    def _schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return value if value is None else sound_schema(value)

    @field_validator("regex")
    @classmethod
    def _regex(cls, value: str | None) -> str | None:
        return value if value is None else _sound("regex", value)

    @field_validator("grammar")
    @classmethod
    def _grammar(cls, value: str | None) -> str | None:
        return value if value is None else _sound("grammar", value)

    @field_validator("choice")
    @classmethod
    def _choices(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and not all(value):
            raise ValueError("contains an empty string; remove it")
        return value if value is None else [no_nul(v) for v in value]

    @model_validator(mode="after")
    def _one(self) -> "Structured":
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)}")
        return self
