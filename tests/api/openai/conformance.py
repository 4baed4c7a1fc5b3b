"""What the `openai` package's own types know of each family, and what we make of it."""

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any

from openai.types import Batch, BatchCreateParams, Completion, CreateEmbeddingResponse, Model
from openai.types import completion_create_params as completion_params
from openai.types import embedding_create_params as embedding_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import (
    FunctionTool,
    Response,
    ResponseFormatTextJSONSchemaConfig,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ToolChoiceFunction,
)
from openai.types.responses import response_create_params as response_params
from openai.types.shared import ResponseFormatText
from pydantic import BaseModel

HONOURED, KEPT, ACCEPTED, REFUSED = "honoured", "kept", "accepted", "refused"


@dataclass(frozen=True)
class Family:
    """`requests`: the client's parameter types. `answers`: the types it reads our answers as."""

    name: str
    requests: tuple[Any, ...] = ()
    answers: tuple[type[BaseModel], ...] = ()
    # What becomes of each request field, and the sentence about it in the table.
    fields: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Where an answer may be one of several models, those that text and functions can make of it.
    spoken: tuple[type[BaseModel], ...] = ()

    @property
    def known(self) -> set[str]:
        """The request fields of the package."""
        return {name for one in self.requests for name in typing.get_type_hints(one)}

    @property
    def accepted(self) -> set[str]:
        return {name for name, (fate, _) in self.fields.items() if fate != REFUSED}


_COMMON = {
    "frequency_penalty": (HONOURED, "-2 to 2"),
    "logit_bias": (HONOURED, "token ids of the model served, -100 to 100"),
    "max_tokens": (HONOURED, ""),
    "model": (HONOURED, "a name or alias of the catalog"),
    "n": (HONOURED, "1 to 16"),
    "presence_penalty": (HONOURED, "-2 to 2"),
    "seed": (HONOURED, ""),
    "stop": (HONOURED, "up to 16 strings"),
    "stream": (HONOURED, ""),
    "stream_options": (HONOURED, "`include_usage`; `include_obfuscation` only as false"),
    "temperature": (HONOURED, "0 to 2"),
    "top_p": (HONOURED, ""),
    "user": (KEPT, "as the job's metadata"),
}
CHAT = Family(
    "chat",
    (chat_params.CompletionCreateParamsNonStreaming, chat_params.CompletionCreateParamsStreaming),
    (ChatCompletion, ChatCompletionChunk),
    _COMMON | {
        "audio": (REFUSED, ""),
        "function_call": (REFUSED, "use `tool_choice`"),
        "functions": (REFUSED, "use `tools`"),
        "logprobs": (HONOURED, ""),
        "max_completion_tokens": (HONOURED, "the newer name of `max_tokens`"),
        "messages": (HONOURED, "text, text parts, tool calls and their answers; other parts are refused"),
        "metadata": (KEPT, "as the job's metadata"),
        "modalities": (ACCEPTED, 'only `["text"]`'),
        "moderation": (REFUSED, ""),
        "parallel_tool_calls": (HONOURED, ""),
        "prediction": (REFUSED, ""),
        "prompt_cache_key": (ACCEPTED, "the prefix cache finds what it has without a hint"),
        "prompt_cache_options": (REFUSED, ""),
        "prompt_cache_retention": (REFUSED, ""),
        "reasoning_effort": (ACCEPTED, 'only `"none"`'),
        "response_format": (HONOURED, "`text`, `json_object`, `json_schema`"),
        "safety_identifier": (KEPT, "as the job's metadata"),
        "service_tier": (HONOURED, "`auto`, `default`; `flex` waits behind interactive jobs"),
        "store": (ACCEPTED, "only false; jobs are kept under `/v1/jobs` anyway"),
        "tool_choice": (HONOURED, "see below"),
        "tools": (HONOURED, "functions"),
        "top_logprobs": (HONOURED, "0 to 20"),
        "verbosity": (ACCEPTED, 'only `"medium"`'),
        "web_search_options": (REFUSED, ""),
    },
)  # fmt: skip
COMPLETIONS = Family(
    "completions",
    (
        completion_params.CompletionCreateParamsNonStreaming,
        completion_params.CompletionCreateParamsStreaming,
    ),
    (Completion,),
    _COMMON | {
        "best_of": (ACCEPTED, "only 1"),
        "echo": (HONOURED, ""),
        "logprobs": (HONOURED, "0 to 20"),
        "prompt": (HONOURED, "a text, token ids, or up to 128 of either"),
        "suffix": (REFUSED, ""),
    },
)  # fmt: skip
RESPONSES = Family(
    "responses",
    (
        response_params.ResponseCreateParamsNonStreaming,
        response_params.ResponseCreateParamsStreaming,
    ),
    (Response,),
    {
        "access_programs": (REFUSED, ""),
        "background": (HONOURED, "needs a response that is stored"),
        "background_options": (HONOURED, "`completion_window`; `continuation_id` is refused"),
        "context_management": (REFUSED, ""),
        "conversation": (REFUSED, "use `previous_response_id`"),
        "image": (ACCEPTED, "only `context_compression` as `auto` or `disabled`: text is all there is"),
        "include": (HONOURED, "only `message.output_text.logprobs`"),
        "input": (HONOURED, "a text, or items: text messages, function calls and their outputs; others are refused"),
        "instructions": (HONOURED, ""),
        "max_output_tokens": (HONOURED, ""),
        "max_tool_calls": (ACCEPTED, "it limits built-in tools, and there are none"),
        "metadata": (KEPT, "as the job's metadata"),
        "model": (HONOURED, "a name or alias of the catalog"),
        "moderation": (REFUSED, ""),
        "parallel_tool_calls": (HONOURED, ""),
        "previous_response_id": (HONOURED, ""),
        "prompt": (REFUSED, "send its text"),
        "prompt_cache_key": (ACCEPTED, "the prefix cache finds what it has without a hint"),
        "prompt_cache_options": (ACCEPTED, 'only `{"mode": "implicit"}`'),
        "prompt_cache_retention": (ACCEPTED, 'only `"in_memory"`'),
        "reasoning": (ACCEPTED, 'only `effort: "none"`'),
        "safety_identifier": (KEPT, "with the response"),
        "service_tier": (HONOURED, "`auto`, `default`; `flex` waits behind interactive jobs"),
        "store": (HONOURED, ""),
        "stream": (HONOURED, ""),
        "stream_options": (ACCEPTED, "`include_obfuscation` only as false"),
        "temperature": (HONOURED, "0 to 2"),
        "text": (HONOURED, '`format`: `text`, `json_object`, `json_schema`; `verbosity` only `"medium"`'),
        "tool_choice": (HONOURED, "`none`, `auto`, `required`, a function, or `allowed_tools` of functions"),
        "tools": (HONOURED, "functions; others are refused"),
        "top_logprobs": (HONOURED, "0 to 20"),
        "top_p": (HONOURED, ""),
        "truncation": (ACCEPTED, 'only `"disabled"`'),
        "user": (KEPT, "with the response"),
    },
    (
        FunctionTool,
        ResponseFormatText,
        ResponseFormatTextJSONSchemaConfig,
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseOutputText,
        ToolChoiceFunction,
    ),
)  # fmt: skip
BATCHES = Family(
    "batches",
    (BatchCreateParams,),
    (Batch,),
    {
        "completion_window": (HONOURED, "`24h`, or any number of `s`, `m`, `h`, `d` up to 30 days"),
        "endpoint": (HONOURED, "`/v1/chat/completions` or `/v1/completions`"),
        "input_file_id": (HONOURED, "a file of purpose `batch`"),
        "metadata": (HONOURED, "up to 16 pairs"),
        "output_expires_after": (HONOURED, "of the output and error file"),
    },
)
EMBEDDINGS = Family(
    "embeddings",
    (embedding_params.EmbeddingCreateParams,),
    (CreateEmbeddingResponse,),
    {
        "dimensions": (
            HONOURED,
            "by models trained to be shortened; with others only their own number",
        ),
        "encoding_format": (HONOURED, "`float`, `base64`"),
        "input": (
            HONOURED,
            "a text, token ids, or up to 2048 of either; what is too long is refused, never cut",
        ),
        "model": (HONOURED, "an embedding model of the catalog"),
        "user": (KEPT, "as the job's metadata"),
    },
)
MODELS = Family("models", (), (Model,))
FAMILIES = (CHAT, COMPLETIONS, RESPONSES, BATCHES, EMBEDDINGS, MODELS)


def paths(
    model: type[BaseModel], at: str = "", spoken: tuple[type[BaseModel], ...] = ()
) -> Iterator[str]:
    """Every field that the client can read of an answer, by its path; a model in itself is not followed twice."""
    for name, info in model.model_fields.items():
        path = f"{at}.{name}" if at else name
        yield path
        found = list(_models(info.annotation))
        for inner in [m for m in found if m in spoken] if spoken and len(found) > 1 else found:
            if path.count(".") < 6:
                yield from paths(inner, path, spoken)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, UnionType, list, typing.Annotated):
        for inner in typing.get_args(annotation):
            if inner is not NoneType:
                yield from _models(inner)


def produced(answer: Any, at: str = "") -> Iterator[str]:
    """The fields of one answer as it was sent."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            path = f"{at}.{name}" if at else name
            yield path
            yield from produced(value, path)
    elif isinstance(answer, list):
        for one in answer:
            yield from produced(one, at)


def fields_table() -> str:
    """The table of docs/openai-compatibility.md."""
    lines = []
    for family in (CHAT, COMPLETIONS, RESPONSES, BATCHES, EMBEDDINGS):
        lines += [f"**{family.name}**", "", "| field | | |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {fate} | {note} |"
            for name, (fate, note) in sorted(family.fields.items())
        ]
        lines.append("")
    return "\n".join(lines).strip()


def share(part: set[str], whole: set[str]) -> str:
    """`31 of 37 (84 %)`."""
    return f"{len(part & whole)} of {len(whole)} ({100 * len(part & whole) // len(whole)} %)"
