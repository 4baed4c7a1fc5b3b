"""The batch kind: a step of a batch as a job. Only the platform makes them (core/batches)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

KIND = "batch"
Step = Literal["validate", "shard", "finish"]


class BatchSpec(BaseModel):
    """`first`, `last`: the line numbers that a shard answers, both included; `tokens`: what they may take."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["batch"] = "batch"
    model: str = ""
    step: Step
    batch_id: str
    first: int = Field(0, ge=0)
    last: int = Field(0, ge=0)
    tokens: int = Field(0, ge=0)


def join(progress: dict[str, Any] | None, _: list[dict[str, Any]]) -> dict[str, Any]:
    """What a step did is in its batch's lines."""
    return progress or {}
