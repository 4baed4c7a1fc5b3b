"""The dataset kind: files, buckets or hub datasets in, a checked version of a dataset out."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from core.jobs.formats import BYTES_A_TOKEN, Format
from core.jobs.sampling import no_nul

KIND = "dataset"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Source(BaseModel):
    """One of: `file` (an uploaded file), `uri` (s3://bucket/key of the configured store), `hub` (owner/name)."""

    model_config = ConfigDict(extra="forbid")
    file: str | None = Field(None, max_length=64)
    uri: str | None = Field(None, max_length=1024)
    hub: str | None = Field(None, max_length=256)
    config: str | None = Field(None, max_length=256)
    split: str = Field("train", max_length=64)

    @model_validator(mode="after")
    def _one(self) -> "Source":
        if sum(x is not None for x in (self.file, self.uri, self.hub)) != 1:
            raise ValueError("give one of file, uri and hub")
        return self


class DatasetSpec(BaseModel):
    """`filters` and `augment` are checked by the pipeline's own rules (docs/data.md)."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["dataset"] = "dataset"
    model: str = Field("", max_length=256, description="whose tokenizer counts; empty: the default")
    name: str = Field(min_length=1, max_length=64)
    sources: list[Source] = Field(min_length=1, max_length=64)
    validation: list[Source] = Field(default_factory=list, max_length=64)
    validation_share: float = Field(0.0, ge=0, le=0.5)
    format: Format = "auto"
    filters: dict[str, Any] = Field(default_factory=dict, max_length=32)
    augment: dict[str, Any] = Field(default_factory=dict, max_length=32)
    max_length: Annotated[int, Field(ge=8, le=1_000_000)] | None = None
    packing: bool = True
    seed: int | None = Field(None, ge=0, lt=2**31)
    _tokens: int = PrivateAttr(0)

    _clean = field_validator("model")(no_nul)

    def expect(self, data_bytes: int) -> None:
        """Reckon what the pipeline may read, for the tenant's share: nothing is charged for it."""
        self._tokens = data_bytes // BYTES_A_TOKEN

    def reservation(self) -> int:
        return self._tokens

    @field_validator("name")
    @classmethod
    def _sound_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(
                "may have letters, digits, dots, dashes and underscores; begin with a letter or digit"
            )
        return value


def join(progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the pipeline stands; the next attempt begins anew."""
    state = dict(progress or {})
    for one in said:
        if one.get("event") == "progress":
            state |= {k: v for k, v in one.items() if k != "event"}
    return state


def partial(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of a dataset in the making."""
    return progress or None
