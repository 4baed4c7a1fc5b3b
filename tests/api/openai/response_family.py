"""The family of /v1/responses: its request fields, its answers, and the events of its streams."""

import typing

from openai.types.responses import (
    FunctionTool,
    InputItemListParams,
    InputTokenCountParams,
    Response,
    ResponseFormatTextJSONSchemaConfig,
    ResponseFunctionToolCall,
    ResponseFunctionToolCallItem,
    ResponseFunctionToolCallOutputItem,
    ResponseInputMessageItem,
    ResponseInputText,
    ResponseItemList,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseStreamEvent,
    ToolChoiceAllowed,
    ToolChoiceFunction,
    response_create_params,
    response_retrieve_params,
)
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from openai.types.shared import ResponseFormatJSONObject, ResponseFormatText
from pydantic import BaseModel

from tests.api.openai.conformance import ACCEPTED, HONOURED, KEPT, REFUSED, Family

# Every kind of event that the client knows, by its type.
EVENTS: dict[str, type[BaseModel]] = {
    typing.get_args(model.model_fields["type"].annotation)[0]: model
    for model in typing.get_args(typing.get_args(ResponseStreamEvent)[0])
}
_TIER = (HONOURED, "`auto`, `default`; `flex` waits behind interactive jobs")
_AT_ONCE = (ACCEPTED, 'only `effort: "none"`')
_FORMAT = '`format`: `text`, `json_object`, `json_schema`; `verbosity` only `"medium"`'
_CHOICE = "`none`, `auto`, `required`, a function, or `allowed_tools` of functions"
_CREATE = {
    "access_programs": (REFUSED, ""),
    "background": (HONOURED, "needs a response that is stored"),
    "background_options": (HONOURED, "`completion_window`; `continuation_id` is refused"),
    "context_management": (REFUSED, ""),
    "conversation": (REFUSED, "use `previous_response_id`"),
    "image": (ACCEPTED, "only `context_compression` as `auto` or `disabled`: text is all there is"),
    "include": (HONOURED, "only `message.output_text.logprobs`"),
    "input": (HONOURED, "a text, or items: messages, function calls, their outputs, references; others are refused"),
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
    "reasoning": _AT_ONCE,
    "safety_identifier": (KEPT, "with the response"),
    "service_tier": _TIER,
    "store": (HONOURED, ""),
    "stream": (HONOURED, ""),
    "stream_options": (HONOURED, "`include_obfuscation`"),
    "temperature": (HONOURED, "0 to 2"),
    "text": (HONOURED, _FORMAT),
    "tool_choice": (HONOURED, _CHOICE),
    "tools": (HONOURED, "functions; others are refused"),
    "top_logprobs": (HONOURED, "0 to 20"),
    "top_p": (HONOURED, ""),
    "truncation": (HONOURED, "`disabled`; `auto` drops the oldest items until the rest fits"),
    "user": (KEPT, "with the response"),
}  # fmt: skip
_OTHERS = {
    "retrieve.include": (HONOURED, "only `message.output_text.logprobs`, of a response made with them"),
    "retrieve.include_obfuscation": (HONOURED, ""),
    "retrieve.starting_after": (HONOURED, "any number, at any time"),
    "retrieve.stream": (HONOURED, ""),
    "input_items.after": (HONOURED, "the last id of the page before"),
    "input_items.include": (HONOURED, "only `message.output_text.logprobs`, where they were sent back"),
    "input_items.limit": (HONOURED, "1 to 100"),
    "input_items.order": (HONOURED, "`asc`, `desc`"),
    "input_tokens.personality": (REFUSED, ""),
} | {
    f"input_tokens.{name}": (fate, "as above" if fate == HONOURED else note)
    for name, (fate, note) in _CREATE.items()
    if name in typing.get_type_hints(InputTokenCountParams)
}  # fmt: skip
RESPONSES = Family(
    "responses",
    {
        "": (
            response_create_params.ResponseCreateParamsNonStreaming,
            response_create_params.ResponseCreateParamsStreaming,
        ),
        "retrieve": (
            response_retrieve_params.ResponseRetrieveParamsNonStreaming,
            response_retrieve_params.ResponseRetrieveParamsStreaming,
        ),
        "input_items": (InputItemListParams,),
        "input_tokens": (InputTokenCountParams,),
    },
    (Response, ResponseItemList, InputTokenCountResponse),
    tuple(EVENTS.values()),
    _CREATE | _OTHERS,
    (
        FunctionTool,
        ResponseFormatJSONObject,
        ResponseFormatText,
        ResponseFormatTextJSONSchemaConfig,
        ResponseFunctionToolCall,
        ResponseFunctionToolCallItem,
        ResponseFunctionToolCallOutputItem,
        ResponseInputMessageItem,
        ResponseInputText,
        ResponseOutputMessage,
        ResponseOutputText,
        ToolChoiceAllowed,
        ToolChoiceFunction,
    ),
    {
        "OpenAI's access programmes and its watch over misuse": (
            "access_programs", "*.access_programs", "*.access_programs.*", "*.misalignment", "*.misalignment.*",
        ),
        "judging by OpenAI's moderation models": ("moderation", "*.moderation", "*.moderation.*"),
        "prompts kept at OpenAI, and the items that they put in place of instructions": (
            "prompt", "*.prompt", "*.prompt.*", "*.instructions.*",
        ),
        "images": ("image", "*.image", "*.image.*"),
        "models that reason before they answer": (
            "*.reasoning.context", "*.reasoning.generate_summary", "*.reasoning.mode", "*.reasoning.summary",
            "*.input_transformations", "*.input_transformations.*", "ResponseReasoning*",
        ),
        "built-in tools, which run at OpenAI, what they cite and what they cost": (
            "*.tool_usage", "*.tool_usage.*", "*.annotations", "*.annotations.*", "*.annotation_index",
            "ResponseOutputTextAnnotation*", "ResponseCodeInterpreter*", "ResponseFileSearch*", "ResponseImageGen*",
            "ResponseMcp*", "ResponseWebSearch*", "ResponseShell*", "ResponseCompaction*",
        ),
        "functions called by programs that OpenAI runs, found by its search, or with free text": (
            "*.tools.allowed_callers", "*.tools.async", "*.tools.defer_loading", "*.tools.output_schema",
            "*.output.async", "*.output.caller", "*.output.namespace", "*.data.async", "*.data.caller",
            "*.data.caller.*", "*.data.namespace", "ResponseCustomTool*",
        ),
        "sound": ("ResponseAudio*",),
        "no model here refuses in another voice than its answer's": ("ResponseRefusal*",),
        "how long OpenAI's cache keeps things, and why it missed": (
            "*.prompt_cache_diagnostics", "*.prompt_cache_diagnostics.*", "*.prompt_cache_options.ttl",
            "*.prompt_cache_options.comparison_response_id", "*cache_write_tokens*", "*.prompt_cache_breakpoint",
            "*.prompt_cache_breakpoint.*",
        ),
        "items of conversations and of tools kept at OpenAI": (
            "*.created_by", "Response.output.output", "Response.output.output.*",
        ),
    },
)  # fmt: skip
