"""What POST /v1/fine_tuning/jobs takes: each field honoured, recorded, or refused by its name."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from core.errors import InvalidInput
from core.jobs.finetune import Hyperparameters
from core.jobs.kinds import FinetuneJob, MetadataKey, MetadataValue
from core.openai import shapes
from core.openai.shapes import Refused

# A version of a dataset that a dataset job made stands where a file would.
DATASET = "dsv_"
# What the spec calls otherwise than this request.
_NAMES = {"dataset": "training_file"}
_INTEGRATIONS = "Follow the job by its events, or be told by webhooks."
_REINFORCEMENT = "Use supervised, or dpo for pairs of a better and a worse answer."


class Hyper(Hyperparameters):
    """OpenAI's, and beside them all of ours; `tuning`: train an adapter (lora) or all weights (full)."""

    tuning: Literal["lora", "full"] | None = None


class Setting(BaseModel):
    model_config = ConfigDict(extra="forbid")
    hyperparameters: Hyper | None = None


def _known_type(value: Any) -> Any:
    if value == "reinforcement":
        raise ValueError(f"reinforcement is not supported here. {_REINFORCEMENT}")
    return value


class MethodAsked(BaseModel):
    """`type`, and the settings under its name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Annotated[Literal["supervised", "dpo"], BeforeValidator(_known_type)]
    supervised: Setting | None = None
    dpo: Setting | None = None
    reinforcement: Annotated[Any, Refused(_REINFORCEMENT)] = None

    @model_validator(mode="after")
    def _of_its_type(self) -> "MethodAsked":
        other = "dpo" if self.type == "supervised" else "supervised"
        if getattr(self, other) is not None:
            raise ValueError(f"{other} goes with type {other}, and type is {self.type}")
        return self


class Ask(BaseModel):
    """The request. The fields below `metadata` are our own."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str = Field(
        description="a model served here, or a fine-tuned one of yours to go on from"
    )
    training_file: str = Field(description="a file of purpose fine-tune, or the id of a dataset")
    validation_file: str | None = None
    suffix: str | None = Field(None, description="part of the new model's name")
    seed: int | None = None
    method: MethodAsked | None = None
    hyperparameters: Hyper | None = Field(None, description="the old place of the method's")
    integrations: Annotated[list[Any] | None, Refused(_INTEGRATIONS, ([],))] = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    validation_share: float | None = Field(None, description="part of the data to measure by")
    format: str | None = None
    deepspeed: str | None = None
    priority: str | None = None
    completion_window: str | None = None
    idempotency_key: str | None = Field(None, description="the Idempotency-Key header, in the body")

    def spec(self) -> FinetuneJob:
        """The job that is asked for. Raises InvalidInput naming the field as the client knows it."""
        source = "dataset" if self.training_file.startswith(DATASET) else "training_file"
        fields: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "model", "validation_file", "suffix", "seed", "metadata", "validation_share", "format",
                "deepspeed", "priority", "completion_window", "idempotency_key",
            )
        }  # fmt: skip
        fields |= {"kind": "finetune", source: self.training_file, "method": self._method()}
        return shapes.sound(FinetuneJob, fields, _NAMES)

    def _method(self) -> dict[str, Any]:
        kind = self.method.type if self.method is not None else "supervised"
        setting = getattr(self.method, kind, None)
        named = setting.hyperparameters if setting is not None else None
        if named is not None and self.hyperparameters is not None:
            raise InvalidInput(
                f"hyperparameters is the old place of method.{kind}.hyperparameters; send one of the two",
                param="hyperparameters",
            )
        asked = named or self.hyperparameters or Hyper()
        if kind == "supervised" and "beta" in asked.model_fields_set:
            raise InvalidInput(
                "beta is of dpo; supervised training has none",
                param="method.supervised.hyperparameters.beta",
            )
        # Only what was sent: two requests are the same when their bodies are.
        given = asked.model_dump(exclude_unset=True)
        tuning = given.pop("tuning", None)
        return {"type": kind, "hyperparameters": given} | ({"tuning": tuning} if tuning else {})


class FineTuningJobView(BaseModel):
    """Times are Unix seconds; `paused` and the fields below it are our own additions."""

    model_config = ConfigDict(extra="allow")
    id: str
    object: str
    created_at: int
    error: dict[str, Any] | None
    fine_tuned_model: str | None
    finished_at: int | None
    estimated_finish: int | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    model: str
    organization_id: str
    result_files: list[str]
    seed: int
    status: str
    trained_tokens: int | None
    training_file: str
    validation_file: str | None
    metadata: dict[str, str]
    paused: bool
    job: str


class FineTuningEventView(BaseModel):
    id: str
    object: str
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any]


class FineTuningCheckpointView(BaseModel):
    id: str
    object: str
    created_at: int
    fine_tuned_model_checkpoint: str | None
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, Any]


class _Page(BaseModel):
    object: str
    first_id: str | None
    last_id: str | None
    has_more: bool


class FineTuningJobList(_Page):
    data: list[FineTuningJobView]


class FineTuningEventList(_Page):
    data: list[FineTuningEventView]


class FineTuningCheckpointList(_Page):
    data: list[FineTuningCheckpointView]
