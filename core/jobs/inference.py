"""The inference kind: what may be asked, what comes back, and how text so far is summed up."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from core.catalog.tokenizer import Text
from core.errors import InvalidInput
from core.jobs import tools as calling
from core.jobs.messages import Message, Tool, ToolChoice, checked, for_template
from core.jobs.sampling import FullSampling, no_nul
from core.jobs.structured import Structured
from core.jobs.tools import Choice
from core.ledger.caps import Caps

KIND = "inference"
# Of what was said, what only the next attempt may see: the tokens, and what a guard kept from readers.
PRIVATE = frozenset({"tokens", "finish", "raw", "done", "pending"})
MAX_PROMPT = 1_000_000

# What _one_input checks, in the words of JSON Schema, for clients that read the API's description.
_ONE_INPUT: dict[str, Any] = {
    "oneOf": [
        {"required": ["prompt"], "properties": {"prompt": {"minLength": 1, "minItems": 1,
                                                           "type": ["string", "array"]},
                                                "messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"messages": {"type": "array", "minItems": 1},
                                                  "prompt": {"type": "null"}}},
    ]
}  # fmt: skip


def sound_prompt(value: Any) -> Any:
    """Raises ValueError for what is neither text nor token ids."""
    if value is None:
        return None
    if isinstance(value, str):
        no_nul(value)
    elif not isinstance(value, list) or not all(type(i) is int and i >= 0 for i in value):
        raise ValueError("must be a string or an array of token ids")
    if len(value) > MAX_PROMPT:
        raise ValueError(f"is longer than {MAX_PROMPT}; shorten it")
    return value


# Not a plain union: its errors would name the field "prompt.str".
Prompt = Annotated[
    str | list[int] | None,
    BeforeValidator(sound_prompt),
    WithJsonSchema(
        {"anyOf": [
            {"type": "string", "maxLength": MAX_PROMPT},
            {"type": "array", "maxItems": MAX_PROMPT, "items": {"type": "integer", "minimum": 0}},
            {"type": "null"},
        ]}
    ),
]  # fmt: skip


class InferenceSpec(FullSampling, Caps):
    model_config = ConfigDict(json_schema_extra=_ONE_INPUT)
    kind: Literal["inference"] = "inference"
    model: str = Field("", max_length=256, description="empty: the default model")
    prompt: Prompt = None
    messages: list[Message] | None = Field(None, max_length=1000)
    structured: Structured | None = None
    tools: list[Tool] | None = Field(None, min_length=1, max_length=128)
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool = Field(True, strict=True)

    _clean = field_validator("model")(no_nul)
    _clean_stop = field_validator("stop")(lambda v: [no_nul(s) for s in v])
    _checked = field_validator("tools")(checked)

    @model_validator(mode="after")
    def _one_input(self) -> "InferenceSpec":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of prompt and messages")
        if self.prompt in ("", []) or self.messages == []:
            raise ValueError("prompt or messages is empty; give at least one character or message")
        return self

    @property
    def tool_use(self) -> Choice:
        return calling.chosen(self.tools, self.tool_choice)

    @property
    def form(self) -> Structured | None:
        """What the answer must look like: as asked for, or as a tool call."""
        schema = calling.constraint(self.tools or [], self.tool_use)
        # Checked at admission; checking it again would only cost.
        return self.structured if schema is None else Structured.model_construct(json_schema=schema)

    @property
    def asked_tokens(self) -> int:
        """Of the prompt, told before it is counted: four bytes a token."""
        if self.prompt is None:
            return sum(message.size for message in self.messages or ()) // 4
        return len(self.prompt.encode()) // 4 if isinstance(self.prompt, str) else len(self.prompt)

    def reservation(self, context: int) -> int:
        """Tokens that answering may take of a model with this `context`: every answer as long as it may get."""
        whole = min(self.asked_tokens + self.max_tokens * self.n, context * self.n)
        return whole if self.max_tokens_total is None else min(whole, self.max_tokens_total)

    @property
    def detailed(self) -> bool:
        """The result lists its choices."""
        return self.n > 1 or self.logprobs is not None or self.tool_use.kind != "none"

    @property
    def walks(self) -> bool:
        """The next token depends on how the answer came to be, not on its tokens alone: a grammar's place in
        it, counts of what was said, the place in a row of random numbers."""
        penalised = self.presence_penalty != 0 or self.frequency_penalty != 0
        seeded = self.seed is not None and self.temperature > 0
        return self.form is not None or penalised or seeded


def template_input(spec: InferenceSpec) -> dict[str, Any]:
    """What core.catalog.tokenizer.prompt_ids makes token ids of."""
    if spec.messages is None:
        return {"prompt": spec.prompt}
    tools = None if spec.tool_use.kind == "none" else [t.model_dump() for t in spec.tools or ()]
    return {"messages": for_template(spec.messages), "tools": tools}


def needs_text(spec: InferenceSpec) -> bool:
    """`check` has something to ask the tokenizer."""
    return isinstance(spec.prompt, list) or bool(spec.logit_bias or spec.tools)


def check(spec: InferenceSpec, text: Text | None) -> None:
    """The rules that need more than one field, or the model. Raises InvalidInput naming the field."""
    if spec.max_tokens == 0 and spec.prompt_logprobs is None:
        raise InvalidInput(
            "max_tokens is 0: ask for at least 1, or for prompt_logprobs too", param="max_tokens"
        )
    if spec.min_tokens > spec.max_tokens:
        raise InvalidInput("min_tokens is over max_tokens; lower it", param="min_tokens")
    if text is None:
        return
    for param, ids in (("prompt", spec.prompt), ("logit_bias", map(int, spec.logit_bias or ()))):
        if isinstance(ids, str) or ids is None:
            continue
        if wrong := next((i for i in ids if not 0 <= i < text.size), None):
            raise InvalidInput(
                f"{param}: token {wrong} is not in the vocabulary of {text.size}", param=param
            )
    _check_tools(spec, text)


def _check_tools(spec: InferenceSpec, text: Text) -> None:
    use, names = spec.tool_use, {tool.function.name for tool in spec.tools or ()}
    if use.kind == "named" and use.name not in names:
        raise InvalidInput(f"tool_choice: there is no tool {use.name!r}", param="tool_choice")
    if use.kind == "auto" and not text.takes_tools:
        raise InvalidInput(
            "tool_choice: auto needs a model whose chat template takes tools, and this one's does not. "
            'Use "required", name a function, or serve another model.',
            param="tool_choice",
            code="unsupported_value",
        )
    if use.kind != "none" and spec.structured is not None:
        raise InvalidInput(
            "An answer cannot both have a given form and call tools; leave one out",
            param="structured",
        )
    if spec.tools and spec.messages is None:
        raise InvalidInput("tools need messages, not prompt", param="tools")


def check_length(prompt_tokens: int, max_tokens: int, context: int) -> None:
    """Raises InvalidInput when the prompt leaves no room for an answer of `max_tokens`."""
    if prompt_tokens + max_tokens > context:
        raise InvalidInput(
            f"The prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}; the model's "
            f"context holds {context}. Shorten the prompt or lower max_tokens to at most "
            f"{max(context - prompt_tokens, 0)}.",
            param="prompt" if prompt_tokens >= context else "max_tokens",
            code="context_length_exceeded",
        )


def choices(progress: dict[str, Any] | None) -> dict[int, dict[str, Any]]:
    """What was said of each answer: {"text", "tokens", "finish"?, "logprobs"?} by its index; of one that is
    guarded also "raw", what the model wrote, of which the first "done" characters have left as "text"."""
    whole = dict(progress or {})
    whole.pop("took", None)
    others = whole.pop("choices", ())
    said = {0: {"text": "", "tokens": [], **whole}}
    return said | {c["index"]: {k: v for k, v in c.items() if k != "index"} for c in others}


def spent(took: dict[str, Any], said: int) -> dict[str, Any]:
    """A job's usage: of a prompt that took this, answered with so many tokens. Engine time in seconds."""
    prompt = took.get("prompt_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "cached_tokens": took.get("cached_tokens", 0),
        "engine_seconds": took.get("engine_seconds", 0),
    }


def usage(progress: dict[str, Any] | None) -> dict[str, Any]:
    """What an unfinished answer took. core/jobs/job.py says the same in SQL."""
    said = sum(len(one["tokens"]) for one in choices(progress).values())
    return spent((progress or {}).get("took", {}), said)


def partial(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of an unfinished answer; token ids and what a guard held back stay inside.

    core/jobs/job.py says the same in SQL, for jobs that end without a worker.
    """
    if progress is None:
        return None
    shown: dict[str, Any] = {"text": progress.get("text", "")}
    if "choices" in progress or "logprobs" in progress:
        shown["choices"] = [
            {"index": index, **{k: v for k, v in said.items() if k not in PRIVATE}}
            for index, said in sorted(choices(progress).items())
        ]
    return shown


def join(progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Progress with what later log entries added: the first answer, and "choices" with the others.

    "took": {"prompt_tokens", "cached_tokens", "engine_seconds"}, with each entry more of the last.
    """
    tooks = [one["took"] for one in (progress or {}, *said) if one.get("took")]
    known = choices(progress)
    texts = {index: [c["text"]] for index, c in known.items()}
    ids = {index: list(c["tokens"]) for index, c in known.items()}
    for part in said:
        index = part.get("index", 0)
        one = known.setdefault(index, {"text": "", "tokens": []})
        texts.setdefault(index, []).append(part.get("text", ""))
        ids.setdefault(index, []).extend(part.get("tokens", ()))
        if part.get("finish"):
            one["finish"] = part["finish"]
        if "raw" in part:
            one["raw"] = one.get("raw", "") + part["raw"]
            one["done"], one["pending"] = part["done"], part["pending"]
        if part.get("logprobs"):
            one["logprobs"] = [*one.get("logprobs", ()), *part["logprobs"]]
    for index, one in known.items():
        known[index] = {**one, "text": "".join(texts[index]), "tokens": ids[index]}
    first = known.pop(0)
    others = [{"index": index, **one} for index, one in sorted(known.items())]
    took = {"took": max(tooks, key=lambda one: float(one["engine_seconds"]))} if tooks else {}
    return first | ({"choices": others} if others else {}) | took
