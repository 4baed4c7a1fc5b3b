"""The finetune kind: a dataset and a base model in, a version of the model out."""

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from core.events import types
from core.jobs.formats import BYTES_A_TOKEN, Format
from core.jobs.sampling import no_nul

KIND = "finetune"
MAX_SUFFIX = 64
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Auto = Literal["auto"]


class Hyperparameters(BaseModel):
    """What is "auto" is chosen once the data are known (core/jobs/hyper.py) and told in the job's log.

    `learning_rate_multiplier` is OpenAI's: of the automatic rate. `eval_every`, `checkpoint_every`: steps.
    """

    model_config = ConfigDict(extra="forbid")
    n_epochs: Annotated[int, Field(ge=1, le=100)] | Auto = "auto"
    max_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] | Auto = "auto"
    micro_batch_size: Annotated[int, Field(ge=1, le=4096)] | Auto = "auto"
    learning_rate: Annotated[float, Field(gt=0, le=1)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1000)] | Auto = "auto"
    schedule: Literal["auto", "constant", "linear", "cosine"] = "auto"
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] | Auto = "auto"
    weight_decay: float = Field(0.0, ge=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0, le=1000)
    max_length: Annotated[int, Field(ge=8, le=1_000_000)] | Auto = "auto"
    packing: bool | Auto = "auto"
    lora_rank: Annotated[int, Field(ge=1, le=512)] | Auto = "auto"
    lora_alpha: Annotated[float, Field(gt=0, le=4096)] | Auto = "auto"
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    beta: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    eval_every: Annotated[int, Field(ge=1)] | Auto = "auto"
    checkpoint_every: Annotated[int, Field(ge=1)] | Auto = "auto"
    gradient_checkpointing: bool = Field(
        False, description="slower, and much less memory for activations"
    )
    early_stopping_patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    early_stopping_min_delta: float = Field(0.0, ge=0)

    @field_validator("*", mode="wrap")
    @classmethod
    def _one_complaint(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        """Of "auto" or a number pydantic would complain twice, naming its own branches as fields."""
        try:
            return check(value)
        except ValidationError as error:
            found = error.errors()
            said = [e["msg"] for e in found if e["type"] != "literal_error"]
            first = said[0] if said else found[0]["msg"]
            more = ', or "auto"' if said and len(said) < len(found) else ""
            raise ValueError(first[0].lower() + first[1:] + more) from None


class Method(BaseModel):
    """`type`: learn from answers (supervised) or from pairs of a better and a worse one (dpo)."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["supervised", "dpo"] = "supervised"
    tuning: Literal["lora", "full"] = "lora"
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)


class FinetuneSpec(BaseModel):
    """`training_file` or `dataset` (a version that a dataset job made), never both."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["finetune"] = "finetune"
    model: str = Field("", max_length=256, description="the base, or an ft: model to go on from")
    training_file: str | None = Field(None, max_length=64)
    dataset: str | None = Field(None, max_length=64)
    validation_file: str | None = Field(None, max_length=64)
    validation_share: float = Field(0.0, ge=0, le=0.5)
    format: Format = "auto"
    suffix: str | None = Field(None, min_length=1, max_length=MAX_SUFFIX)
    seed: int | None = Field(None, ge=0, lt=2**31)
    method: Method = Field(default_factory=Method)
    deepspeed: str = Field(
        "auto", max_length=64, description="auto, none, or the name of a preset (docs/training.md)"
    )
    # Told at admission, from the size of the data: what is set aside, and charged to the tenant's share.
    _tokens: int = PrivateAttr(0)

    _clean = field_validator("model")(no_nul)

    @field_validator("suffix")
    @classmethod
    def _sound_suffix(cls, value: str | None) -> str | None:
        if value is not None and not _SUFFIX.fullmatch(value):
            raise ValueError(
                "may have letters, digits, dots, dashes and underscores; begin with a letter or digit"
            )
        return value

    def expect(self, data_bytes: int) -> None:
        """Reckon what the training may read, before its data are: four bytes a token, each pass anew."""
        passes = self.method.hyperparameters.n_epochs
        # Left to us most sets get two to four passes (core/jobs/hyper.py).
        self._tokens = data_bytes // BYTES_A_TOKEN * (3 if passes == "auto" else passes)

    def reservation(self) -> int:
        return self._tokens

    @model_validator(mode="after")
    def _one_source(self) -> "FinetuneSpec":
        if (self.training_file is None) == (self.dataset is None):
            raise ValueError("training_file or dataset must be given, one of the two")
        if self.validation_file is not None and self.validation_share:
            raise ValueError(
                "validation_share splits the training data; leave it out with validation_file"
            )
        if self.validation_file is not None and self.dataset is not None:
            raise ValueError(
                "validation_file does not go with dataset, which has its own validation split"
            )
        return self


def seed_of(job_id: str, sent: int | None) -> int:
    """The client's, or one that all attempts of the job agree on, and that its client is told at once."""
    if sent is not None:
        return sent
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4]) >> 1


# --- What a job has said and done so far ------------------------------------------------------------------


def join(progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the training stands: the last of each thing that was told.

    `told`, `told_valid`: the last steps whose metrics are in the log. An attempt that goes on from a checkpoint walks
    some steps again; what it repeats is not said again.
    """
    state = dict(progress or {})
    for one in said:
        data = {k: v for k, v in one.items() if k != "event"}
        match one.get("event"):
            case types.METRICS if "valid_loss" in data:
                state |= {"validation": data, "told_valid": data["step"]}
            case types.METRICS:
                state |= {"metrics": data, "told": data["step"]}
                took = {
                    "prompt_tokens": data.get("tokens", 0),
                    "engine_seconds": data.get("seconds", 0.0),
                }
                state["took"] = took
            case types.CHECKPOINT:
                state["checkpoint"] = data
            case types.PROGRESS:
                state |= {k: data[k] for k in _TOLD if k in data}
    return state


_TOLD = ("phase", "estimate", "hyperparameters", "data")
_SHOWN = (*_TOLD, "metrics", "validation", "checkpoint")


def partial(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of a training that has not ended; core.jobs.job.PARTIAL says it in SQL."""
    if progress is None:
        return None
    return {k: progress[k] for k in _SHOWN if k in progress} or None


def usage(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """Tokens trained on cost what a prompt's do: each is read once a pass."""
    took = (progress or {}).get("took") or {}
    tokens = int(took.get("prompt_tokens", 0))
    return {
        "prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens, "cached_tokens": 0,
        "engine_seconds": took.get("engine_seconds", 0.0),
    }  # fmt: skip
