"""The families of generated text, chat, completions, responses; embeddings; and all families together."""

from openai.types import Completion, CreateEmbeddingResponse
from openai.types import completion_create_params as completion_params
from openai.types import embedding_create_params as embedding_params
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessageFunctionToolCall,
)
from openai.types.chat import completion_create_params as chat_params

from tests.api.openai.conformance import ACCEPTED, HONOURED, KEPT, REFUSED, Family
from tests.api.openai.eval_family import EVALS
from tests.api.openai.record_families import (
    BATCHES,
    FILES,
    FINE_TUNING,
    MODELS,
    UPLOADS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_EVENT_TYPES,
)
from tests.api.openai.response_family import RESPONSES

__all__ = ["CHAT", "COMPLETIONS", "EMBEDDINGS", "FAMILIES", "RESPONSES"]

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
    "stream_options": (HONOURED, "`include_usage`, `include_obfuscation`"),
    "temperature": (HONOURED, "0 to 2"),
    "top_p": (HONOURED, ""),
    "user": (KEPT, "as the job's metadata"),
}
# Counts of tokens that are no text, or that the engine does not count.
OTHER_TOKENS = {
    "tokens of sounds and images": ("*audio_tokens", "*image_tokens"),
    "the engine does not tell what it wrote to its cache": ("*cache_write_tokens",),
}
CHAT = Family(
    "chat",
    {"": (chat_params.CompletionCreateParamsNonStreaming, chat_params.CompletionCreateParamsStreaming)},
    (ChatCompletion, ChatCompletionChunk),
    fields=_COMMON | {
        "audio": (REFUSED, ""),
        "function_call": (HONOURED, "the old name of `tool_choice`"),
        "functions": (HONOURED, "the old name of `tools`, answered in the old form"),
        "logprobs": (HONOURED, ""),
        "max_completion_tokens": (HONOURED, "the newer name of `max_tokens`"),
        "messages": (HONOURED, "text, text parts, tool calls and their answers; other parts are refused"),
        "metadata": (KEPT, "as the job's metadata, and in the answer"),
        "modalities": (ACCEPTED, 'only `["text"]`'),
        "moderation": (REFUSED, ""),
        "parallel_tool_calls": (HONOURED, ""),
        "prediction": (REFUSED, ""),
        "prompt_cache_key": (ACCEPTED, "the prefix cache finds what it has without a hint"),
        "prompt_cache_options": (ACCEPTED, 'only `{"mode": "implicit"}`'),
        "prompt_cache_retention": (ACCEPTED, 'only `"in_memory"`'),
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
    spoken=(ChatCompletionMessageFunctionToolCall,),
    beyond=OTHER_TOKENS | {
        "sound": ("audio", "*.audio", "*.audio.*"),
        "judging by OpenAI's moderation models": ("moderation", "*.moderation", "*.moderation.*"),
        "OpenAI's web search and what it cites": ("web_search_options", "*.annotations", "*.annotations.*"),
        "tools called with free text": ("*.tool_calls.custom", "*.tool_calls.custom.*"),
        "no model here refuses in another voice than its answer's": ("*.refusal", "*.refusal.*"),
    },
)  # fmt: skip
COMPLETIONS = Family(
    "completions",
    {
        "": (
            completion_params.CompletionCreateParamsNonStreaming,
            completion_params.CompletionCreateParamsStreaming,
        )
    },
    (Completion,),
    fields=_COMMON | {
        "best_of": (ACCEPTED, "only 1"),
        "echo": (HONOURED, ""),
        "logprobs": (HONOURED, "0 to 20"),
        "prompt": (HONOURED, "a text, token ids, or up to 128 of either"),
        "suffix": (REFUSED, ""),
    },
    beyond=OTHER_TOKENS,
)  # fmt: skip
EMBEDDINGS = Family(
    "embeddings",
    {"": (embedding_params.EmbeddingCreateParams,)},
    (CreateEmbeddingResponse,),
    fields={
        "dimensions": (HONOURED, "by models trained to be shortened; with others only their own number"),
        "encoding_format": (HONOURED, "`float`, `base64`"),
        "input": (
            HONOURED, "a text, token ids, or up to 2048 of either; what is too long is refused, never cut"
        ),
        "model": (HONOURED, "an embedding model of the catalog"),
        "user": (KEPT, "as the job's metadata"),
    },
)  # fmt: skip
FAMILIES = (
    CHAT,
    COMPLETIONS,
    RESPONSES,
    EMBEDDINGS,
    BATCHES,
    FILES,
    UPLOADS,
    FINE_TUNING,
    EVALS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_EVENT_TYPES,
    MODELS,
)
