"""What POST /v1/embeddings takes: each field honoured, recorded, or refused by its name."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.embedding import Inputs
from core.jobs.kinds import EmbeddingJob
from core.ledger.caps import MaxCost, MaxTokensTotal
from core.openai.shapes import sound


class Embeddings(BaseModel):
    """Types are checked here, ranges by the job's own spec: one rule for every surface."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    input: Inputs
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    # Beyond OpenAI's, for clients that send them in extra_body.
    max_cost: MaxCost = None
    max_tokens_total: MaxTokensTotal = None
    completion_window: str | None = None
    idempotency_key: str | None = Field(None, description="the Idempotency-Key header, in the body")

    def job(self) -> EmbeddingJob:
        """Raises InvalidInput naming the field at fault."""
        fields = {
            "kind": "embedding",
            **self.model_dump(exclude={"encoding_format", "user"}),
            "metadata": {"user": self.user} if self.user is not None else {},
        }
        return sound(EmbeddingJob, fields, {"metadata": "user"})
