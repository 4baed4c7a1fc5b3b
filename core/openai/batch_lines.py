"""A line of a batch: its form, the specs its body asks for, and the answer made of their results."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from core.catalog.models import MEASURES, WRITES, Served
from core.catalog.tokenizer import Text
from core.errors import InvalidInput
from core.jobs import embedding
from core.jobs.inference import check, check_length
from core.jobs.kinds import InferenceJob
from core.jobs.sampling import MAX_CHOICES
from core.openai import answers, chat_answers, completion_answers, response_lines
from core.openai.chat_shapes import Chat
from core.openai.completion_answers import Echo
from core.openai.completion_shapes import NAMES, Completion
from core.openai.embedding_shapes import Embeddings
from core.openai.line import Asked
from core.openai.response_shapes import Ask
from core.openai.shapes import renamed

S = TypeVar("S", bound=BaseModel)

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
ENDPOINTS = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS)
MAX_CUSTOM_ID = 512
# What bodies call the longest answer they want.
LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
# What the routes take and a line cannot have: the batch has a window, its lines are named by it and kept with it.
ALONE = ("stream", "cache", "idempotency_key", "completion_window")


def kind_of(endpoint: str) -> str:
    """Of the models that can answer its lines."""
    return MEASURES if endpoint == EMBEDDINGS else WRITES


class BadLine(Exception):
    """A line that no batch can hold: `code`, `message` and `param` as the batch's errors list them."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


@dataclass(frozen=True, slots=True)
class Line:
    """`hash`: the same for the same request, whatever the order of its keys; `size`: of its body in bytes."""

    custom_id: str
    body: dict[str, Any]
    hash: bytes
    size: int

    def tokens(self, model: Served) -> int:
        """What it may take, as the specs' reservations: a first guess, made before its body is checked."""
        if model.kind == MEASURES:
            return min(self.size // 4, embedding.MAX_TOKENS)
        limits = (self.body.get(n) for n in LIMITS)
        limit = next((n for n in limits if type(n) is int and n >= 0), 0)
        several = self.body.get("n")
        count = several if type(several) is int and several > 0 else 1
        return min(self.size // 4 + limit * count, model.context * min(count, MAX_CHOICES))

    @property
    def inputs(self) -> int:
        """How many texts it wants embedded; a wrong `input` counts as one."""
        found = self.body.get("input")
        if not isinstance(found, list) or not found or type(found[0]) is int:
            return 1
        return len(found)

    @property
    def model(self) -> str:
        named = self.body.get("model")
        return named if isinstance(named, str) else ""


def parsed(raw: bytes, endpoint: str) -> Line:
    """Raises BadLine. What only the model can judge is not looked at: it is that line's own failure."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadLine("invalid_json_line", f"This line is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise BadLine("invalid_json_line", "This line is not a JSON object.")
    if unknown := found.keys() - {"custom_id", "method", "url", "body"}:
        name = min(unknown)[:64]
        raise BadLine("unknown_field", f"{name} is no field of a line; leave it out.", name)
    custom_id = found.get("custom_id")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= MAX_CUSTOM_ID:
        raise BadLine(
            "invalid_custom_id",
            f"custom_id must be a string of 1 to {MAX_CUSTOM_ID} characters.",
            "custom_id",
        )
    if "\x00" in custom_id:
        raise BadLine("invalid_custom_id", "custom_id contains a NUL character.", "custom_id")
    if found.get("method") != "POST":
        raise BadLine("invalid_method", 'method must be "POST".', "method")
    if found.get("url") != endpoint:
        raise BadLine(
            "mismatched_url", f"url must be the batch's endpoint, {endpoint}.", "url"
        )  # fmt: skip
    body = found.get("body")
    if not isinstance(body, dict):
        raise BadLine("invalid_body", "body must be a JSON object.", "body")
    try:
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        # It reads deeper nesting than it writes.
        raise BadLine(
            "invalid_body", f"body cannot be kept: {error}; flatten it.", "body"
        ) from error
    return Line(custom_id, body, hashlib.sha256(canonical).digest(), len(canonical))


def asked(endpoint: str, body: dict[str, Any], text: Text, chat_max_tokens: int) -> Asked:
    """Through the shapes of the routes themselves. Raises InvalidInput naming the field at fault."""
    if endpoint == CHAT:
        return _chat(_shape(Chat, body), chat_max_tokens)
    if endpoint == RESPONSES:
        return response_lines.asked(_shape(Ask, body), chat_max_tokens)
    return _completion(_shape(Completion, body), text)


def texts(body: dict[str, Any]) -> Embeddings:
    """As `asked`, of a line of EMBEDDINGS."""
    return _shape(Embeddings, body)


def _shape(shape: type[S], body: dict[str, Any]) -> S:
    for name in ALONE:
        if body.get(name):
            raise InvalidInput(f"{name} has no place in a batch; leave it out", param=name)
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"])) or None
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(
            f"{param}: {message}" if param else message, param=param, code=str(first["type"])
        ) from error


def _chat(shape: Chat, chat_max_tokens: int) -> Asked:
    limit = shape.limit()
    if limit is None:
        limit = chat_max_tokens or None
    spec = shape.job(1 if limit is None else limit)

    told = shape.told("default")

    def answer(
        head: dict[str, Any], results: Sequence[dict[str, Any]], usages: Sequence[dict[str, Any]]
    ) -> Any:
        return chat_answers.whole(head, results[0], usages[0], told)

    return Asked([spec], shape.names, limit is None, answer, "chatcmpl", "chat.completion")


def _completion(shape: Completion, text: Text) -> Asked:
    specs = shape.jobs()
    echoes = [Echo(text, spec, echoed=bool(shape.echo)) for spec in specs]

    def answer(
        head: dict[str, Any], results: Sequence[dict[str, Any]], usages: Sequence[dict[str, Any]]
    ) -> Any:
        return completion_answers.whole(head, results, usages, echoes)

    return Asked(specs, NAMES, False, answer, "cmpl", "text_completion")


def sound(one: Asked, spec: InferenceJob, text: Text) -> None:
    """Before a template sees it: what it makes of tools that it does not take is not known."""
    try:
        check(spec, text)
    except InvalidInput as error:
        raise renamed(error, one.names) from error


def fitted(one: Asked, spec: InferenceJob, prompt: int, model: Served) -> InferenceJob:
    """The spec as `model` can answer it to a prompt of so many tokens. Raises InvalidInput."""
    try:
        check_length(prompt, max(spec.max_tokens, 1), model.context)
    except InvalidInput as error:
        raise renamed(error, one.names) from error
    return spec.model_copy(update={"max_tokens": model.context - prompt}) if one.unlimited else spec


def head(one: Asked, line_id: str, created: datetime, model: Served) -> dict[str, Any]:
    return answers.head(line_id, created, model, one.prefix, one.kind)


def refused(error: InvalidInput) -> dict[str, Any]:
    """The body of a 400, as the route itself would answer."""
    return {
        "error": {
            "message": error.message,
            "type": "invalid_request_error",
            "param": error.param,
            "code": error.code,
        }
    }
