"""What the batch routes take and give, as OpenAI's client knows it."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.routes.openai.file_shapes import ExpiresAfter
from core.jobs.kinds import MetadataKey, MetadataValue
from core.jobs.sampling import no_nul
from core.ledger.caps import MaxCost, MaxTokensTotal

_Text = Annotated[str, AfterValidator(no_nul), Field(max_length=64)]


class CreateBatch(BaseModel):
    """`resume_from`: an earlier batch whose finished lines are taken over where the request is the same."""

    model_config = ConfigDict(extra="forbid")
    input_file_id: Annotated[_Text, Field(examples=["file_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
    endpoint: Annotated[_Text, Field(examples=["/v1/chat/completions"])]
    completion_window: Annotated[_Text, Field(examples=["24h"])]
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    output_expires_after: ExpiresAfter | None = None
    resume_from: _Text | None = None
    max_cost: MaxCost = None
    max_tokens_total: MaxTokensTotal = None


class BatchView(BaseModel):
    """Times are Unix seconds; `reused` and the fields below it are our own additions."""

    model_config = ConfigDict(extra="allow")
    id: str
    object: str
    endpoint: str
    model: str
    status: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    output_file_id: str | None
    error_file_id: str | None
    errors: dict[str, Any] | None
    request_counts: dict[str, int]
    usage: dict[str, Any]
    metadata: dict[str, str] | None
    reused: int
    retry_of: str | None
    resume_from: str | None
    progress: dict[str, float | None]
    max_cost: str | None
    max_tokens_total: int | None
    stopped_by: str | None
    cost: str | None


class BatchList(BaseModel):
    object: str
    data: list[BatchView]
    first_id: str | None
    last_id: str | None
    has_more: bool
