"""The explain kind: why a model answers a prompt so. What is asked of the engine for it is in core/studies."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from core.jobs import inference
from core.jobs.messages import Message
from core.jobs.sampling import no_nul

KIND = "explain"
MAX_PROMPT = 50_000
MAX_TARGET = 1000
MAX_SPANS = 32
MAX_SWAPS = 16
# What an attempt tells of where it is; core.jobs.job.PARTIAL names the same in SQL.
SHOWN = ("phase", "done", "total", "target")
# Of an item of an audit the prompt is not known before it is read.
ITEM_TOKENS = 500
# Questions beside those of spans and swaps: the prompt twice, the target, the check of faithfulness.
OTHERS = 24

Target = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TARGET)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class AuditItem(BaseModel):
    """One item of an audit of yours: its prompt, and the answer that was recorded."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=r"^job_[0-9a-z]{26}$")
    suite: str = Field(min_length=1, max_length=64)
    item: str = Field(min_length=1, max_length=512)

    _clean = field_validator("suite", "item")(no_nul)


class ExplainSpec(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["explain"] = "explain"
    model: str = Field("", max_length=256, description="empty: the default model")
    prompt: str | None = Field(None, min_length=1, max_length=MAX_PROMPT)
    messages: list[Message] | None = Field(None, min_length=1, max_length=100)
    audit: AuditItem | None = None
    target: Target | None = Field(
        None, description="the answer that is explained; null: what the model says by itself"
    )
    contrast: Target | None = Field(None, description="explain the target rather than this")
    answer_tokens: int = Field(
        1,
        ge=1,
        le=32,
        strict=True,
        description="of the model's own answer, where no target is given",
    )
    swaps: list[tuple[Word, Word]] = Field(default_factory=list, max_length=MAX_SWAPS)
    unit: Literal["auto", "word", "sentence", "field"] = "auto"
    max_spans: int = Field(MAX_SPANS, ge=1, le=MAX_SPANS, strict=True)
    seed: int = Field(0, ge=0, lt=2**32, strict=True)

    _clean = field_validator("model")(no_nul)

    @field_validator("prompt", "target", "contrast")
    @classmethod
    def _clean_text(cls, value: str | None) -> str | None:
        return None if value is None else no_nul(value)

    @field_validator("swaps")
    @classmethod
    def _different(cls, value: list[tuple[str, str]]) -> list[tuple[str, str]]:
        for number, (one, other) in enumerate(value):
            if no_nul(one).lower() == no_nul(other).lower():
                raise ValueError(f"{number} swaps {one!r} for itself; give two different words")
        return value

    @model_validator(mode="after")
    def _one_input(self) -> "ExplainSpec":
        if sum(one is not None for one in (self.prompt, self.messages, self.audit)) != 1:
            raise ValueError("give exactly one of prompt, messages and audit")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError("prompt is empty; give at least one word")
        if sum(message.size for message in self.messages or ()) > MAX_PROMPT:
            raise ValueError(f"messages hold more than {MAX_PROMPT} characters; shorten them")
        if self.contrast is not None and self.contrast == self.target:
            raise ValueError("contrast is the target itself; give another answer")
        return self

    def reservation(self) -> int:
        """Tokens that its questions may take, told before anything is counted: four bytes a token."""
        asked = ITEM_TOKENS
        if self.prompt is not None:
            asked = len(self.prompt.encode()) // 4
        elif self.messages is not None:
            asked = sum(message.size for message in self.messages) // 4
        answered = len(self.target.encode()) // 4 + 1 if self.target else self.answer_tokens
        questions = 2 * self.max_spans + len(self.swaps) + OTHERS
        return (asked + answered) * questions * (1 if self.contrast is None else 2)


def join(progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Where it stands, every score by its question, and what all that took."""
    state = dict(progress or {})
    for one in said:
        state |= {name: one[name] for name in (*SHOWN, "took", "tokens") if name in one}
        for name in ("scores", "tops"):
            if new := one.get(name):
                state[name] = dict(state.get(name, ())) | new
    return state


def usage(progress: dict[str, Any] | None) -> dict[str, Any]:
    """What an unfinished one took: "tokens" are those of an answer that the model wrote."""
    return inference.spent(
        (progress or {}).get("took", {}), len((progress or {}).get("tokens", ()))
    )


def partial(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of one that has not ended; core.jobs.job.PARTIAL says it in SQL."""
    return (
        {name: progress[name] for name in SHOWN if name in progress} or None if progress else None
    )
