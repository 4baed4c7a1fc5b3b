"""The union of all job kinds: adding a kind starts here (docs/adding-a-job-kind.md)."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from core.catalog.models import Served
from core.config import Settings
from core.jobs import audit, batch, dataset, embedding, explain, finetune, inference
from core.jobs.audit import AuditSpec
from core.jobs.batch import BatchSpec
from core.jobs.caching import CacheWish
from core.jobs.dataset import DatasetSpec
from core.jobs.embedding import EmbeddingSpec
from core.jobs.explain import ExplainSpec
from core.jobs.finetune import FinetuneSpec
from core.jobs.inference import InferenceSpec
from core.jobs.sampling import no_nul

KINDS = (
    inference.KIND,
    embedding.KIND,
    batch.KIND,
    finetune.KIND,
    dataset.KIND,
    audit.KIND,
    explain.KIND,
)
# Those whose attempts save where they are when asked to stop: they can be paused, and give way.
PAUSABLE = frozenset({finetune.KIND})
Priority = Literal["interactive", "batch"]
RANKS: dict[str, int] = {"interactive": 0, "batch": 1}
_WINDOW = re.compile(r"([1-9]\d{0,6})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class Envelope(BaseModel):
    """What every job carries beside its own fields."""

    model_config = ConfigDict(extra="forbid")
    priority: Priority = "interactive"
    completion_window: str | None = Field(
        None, description="a number and s, m, h or d: 90s, 24h; at most 30d", examples=["24h"]
    )
    idempotency_key: str | None = Field(
        None, description="the Idempotency-Key header, for clients that cannot send one"
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)

    @field_validator("completion_window")
    @classmethod
    def _window(cls, value: str | None) -> str | None:
        if value is not None and window_s(value) > 30 * 86400:
            raise ValueError("is over 30d; give 30d or less")
        return value

    @field_validator("metadata")
    @classmethod
    def _clean_metadata(cls, value: dict[str, str]) -> dict[str, str]:
        return {no_nul(k): no_nul(v) for k, v in value.items()}


class InferenceJob(InferenceSpec, Envelope):
    """POST /v1/jobs with kind inference."""

    kind: Literal["inference"]
    cache: CacheWish | None = None


class EmbeddingJob(EmbeddingSpec, Envelope):
    """POST /v1/jobs with kind embedding."""

    kind: Literal["embedding"]


class FinetuneJob(FinetuneSpec, Envelope):
    """POST /v1/jobs with kind finetune."""

    kind: Literal["finetune"]
    priority: Priority = "batch"


class DatasetJob(DatasetSpec, Envelope):
    """POST /v1/jobs with kind dataset."""

    kind: Literal["dataset"]
    priority: Priority = "batch"


class AuditJob(AuditSpec, Envelope):
    """POST /v1/jobs with kind audit."""

    kind: Literal["audit"]
    priority: Priority = "batch"


class ExplainJob(ExplainSpec, Envelope):
    """POST /v1/jobs with kind explain."""

    kind: Literal["explain"]


class BatchStep(BatchSpec, Envelope):
    """A step of a batch: made by the platform, never by a client."""

    priority: Priority = "batch"


# What clients may submit.
JobSpec = Annotated[
    InferenceJob | EmbeddingJob | FinetuneJob | DatasetJob | AuditJob | ExplainJob,
    Field(discriminator="kind"),
]
# What the platform may.
AnySpec = InferenceJob | EmbeddingJob | FinetuneJob | DatasetJob | AuditJob | ExplainJob | BatchStep


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. How long an attempt may be silent, and how often it says that it lives."""

    lease_s: float
    heartbeat_s: float


def limits(kind: str, settings: Settings) -> Limits:
    match kind:
        # All make progress many times a second, so the same silence means the same thing.
        case inference.KIND | embedding.KIND | batch.KIND | audit.KIND | explain.KIND:
            return Limits(settings.inference_lease_s, settings.inference_heartbeat_s)
        case finetune.KIND | dataset.KIND:
            return Limits(settings.training_lease_s, settings.training_heartbeat_s)
    raise ValueError(f"unknown kind {kind!r}")


def reservation(spec: AnySpec, model: Served) -> int:
    """Tokens that a job may take: what is set aside for it until it is known what it took."""
    match spec:
        case InferenceJob():
            return spec.reservation(model.context)
        case EmbeddingJob() | FinetuneJob() | DatasetJob() | AuditJob() | ExplainJob():
            return spec.reservation()
        case BatchStep():
            return spec.tokens


def asked_tokens(spec: AnySpec) -> int:
    """Those of the reservation that are the prompt's: they have a price of their own."""
    match spec:
        case InferenceJob():
            return spec.asked_tokens
        case EmbeddingJob() | FinetuneJob() | AuditJob() | ExplainJob():
            return spec.reservation()
        case BatchStep() | DatasetJob():
            return 0


def cost_cap(spec: AnySpec) -> Decimal | None:
    """The most that a job may cost."""
    match spec:
        case InferenceJob() | EmbeddingJob():
            return spec.max_cost
        case FinetuneJob() | DatasetJob() | AuditJob() | ExplainJob() | BatchStep():
            return None


def usage(kind: str, progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What an unfinished job took; the ledger settles it."""
    match kind:
        case inference.KIND:
            return inference.usage(progress)
        case embedding.KIND:
            return None  # an attempt that ends without its vectors leaves nothing to charge for
        case batch.KIND:
            return None  # its lines are charged to the batch
        case finetune.KIND:
            return finetune.usage(progress)
        case dataset.KIND:
            return None  # no model runs
        case audit.KIND:
            return None  # its row knows: what each recorded answer took (core/audits/answers.py)
        case explain.KIND:
            return explain.usage(progress)
    raise ValueError(f"unknown kind {kind!r}")


def said_tokens(kind: str, progress: dict[str, Any] | None) -> int:
    """How many tokens of an answer are there, as far as Postgres knows."""
    if kind != inference.KIND or progress is None:
        return 0
    return sum(len(one["tokens"]) for one in inference.choices(progress).values())


def partial(kind: str, progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of an unfinished result."""
    match kind:
        case inference.KIND:
            return inference.partial(progress)
        case embedding.KIND:
            return None  # there is no half of a vector
        case batch.KIND:
            return None  # its batch shows what there is
        case finetune.KIND:
            return finetune.partial(progress)
        case dataset.KIND:
            return dataset.partial(progress)
        case audit.KIND:
            return audit.partial(progress)
        case explain.KIND:
            return explain.partial(progress)
    raise ValueError(f"unknown kind {kind!r}")


def join(kind: str, progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Progress with what the live log knows beyond it."""
    match kind:
        case inference.KIND:
            return inference.join(progress, said)
        case embedding.KIND:
            return embedding.join(progress, said)
        case batch.KIND:
            return batch.join(progress, said)
        case finetune.KIND:
            return finetune.join(progress, said)
        case dataset.KIND:
            return dataset.join(progress, said)
        case audit.KIND:
            return audit.join(progress, said)
        case explain.KIND:
            return explain.join(progress, said)
    raise ValueError(f"unknown kind {kind!r}")


def window_s(value: str) -> int:
    """Seconds of a completion window. Raises ValueError, which pydantic turns into a named field."""
    match = _WINDOW.fullmatch(value)
    if match is None:
        raise ValueError("must be a number and one of s, m, h, d, such as 90s or 24h")
    return int(match[1]) * _UNIT_S[match[2]]


def queue_name(kind: str, priority: str, model: str) -> str:
    """The Celery queue of a job: by kind, class and model; a worker that trains takes any model."""
    if kind in (finetune.KIND, dataset.KIND):
        return f"{kind}.{priority}"
    return f"{kind}.{priority}.{model}"


def queue_of(spec: AnySpec, model: Served) -> str:
    """Where a job on this model waits: with those of the model whose workers answer for it."""
    return queue_name(spec.kind, spec.priority, model.runs_on or model.name)
