"""What the catalog's routes take and give: models with their lineage, stages, aliases, datasets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.catalog import aliases
from core.catalog.models import Served
from core.catalog.stages import MAX_REASON, Stage
from core.catalog.tables import Alias, AliasMove, DatasetVersion, StageMove, Version
from core.events.types import rfc3339
from core.gate.door import MAX_FORCE_D, Force
from core.jobs.sampling import no_nul
from core.ledger.caps import plain

Reason = Annotated[
    str,
    Field(max_length=MAX_REASON, description="kept with the move, for whoever asks later"),
    AfterValidator(no_nul),
]
Target = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="a version's name or id, or a served model's name",
        examples=["ft:rill:acme:mill:4nkq83zv"],
    ),
    AfterValidator(no_nul),
]
AliasName = Annotated[str, Path(pattern=aliases.NAME, examples=["prod"])]
Text512 = Annotated[str, Path(max_length=512), AfterValidator(no_nul)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Forced(_Body):
    """Past the gate, for so many days, by a key with the role risk-owner; kept with the reason."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON), AfterValidator(no_nul)]
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_FORCE_D)]

    def force(self) -> Force:
        return Force(self.reason, self.expires_in_days)


class StageChange(_Body):
    stage: Stage
    reason: Reason = ""
    force: Forced | None = None


class Import(_Body):
    """`base`: a served model; `files`: ids of uploaded files, by what they are called in the adapter's folder."""

    base: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(no_nul)]
    suffix: Annotated[str, Field(max_length=64), AfterValidator(no_nul)] = ""
    files: Annotated[dict[str, str], Field(max_length=8)]


class AliasChange(_Body):
    model: Target
    reason: Reason = ""
    force: Forced | None = None


class Because(_Body):
    reason: Reason = ""
    force: Forced | None = None


class Prices(BaseModel):
    """Of a million tokens, as decimals in strings."""

    model_config = ConfigDict(populate_by_name=True)
    ask: str = Field(alias="in")
    out: str
    cached: str


class ModelView(BaseModel):
    """A model; what is null belongs to versions alone. `created`: Unix seconds.

    `digest`: of its files, for a version that of its artefact; null: not known. `served`: it answers now.
    `adapter`: it is put on its base's weights, whose digest must be `base_digest`. `withdrawn`: the gate took it out of
    use; it answers nobody until it passes again.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    digest: str | None
    prices: Prices | None
    aliases: list[str]
    served: bool
    stage: Stage | None
    withdrawn: bool
    version: str | None
    number: int | None
    base: str | None
    base_digest: str | None
    adapter: bool
    job: str | None
    lineage: dict[str, Any] | None
    metrics: dict[str, Any] | None


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelView]
    has_more: bool


class DeletedModel(BaseModel):
    id: str
    object: Literal["model"]
    deleted: bool


class StageMoveView(BaseModel):
    object: Literal["model.stage_move"]
    was: Stage
    stage: Stage
    key_id: str
    reason: str
    audit: str | None
    at: datetime


class StageHistory(BaseModel):
    object: Literal["list"]
    data: list[StageMoveView]


class AliasMoveView(BaseModel):
    """`model` null: the alias was deleted; `rollback`: the move took an earlier one back; `audit`: that decided."""

    object: Literal["alias.move"]
    was: str | None
    model: str | None
    key_id: str
    reason: str
    audit: str | None
    rollback: bool
    at: datetime


class AliasView(BaseModel):
    """`own` false: of the settings, for every tenant that has none of this name. `version`: null for a base model."""

    object: Literal["alias"]
    name: str
    model: str
    version: str | None
    own: bool
    moved_at: datetime | None


class AliasWithHistory(AliasView):
    history: list[AliasMoveView]


class AliasList(BaseModel):
    object: Literal["list"]
    data: list[AliasView]


class DeletedAlias(BaseModel):
    object: Literal["alias.deleted"]
    name: str
    deleted: bool


class DatasetView(BaseModel):
    """`digest`: of its artefact; `report`: what the pipeline read, kept and dropped, in numbers."""

    id: str
    object: Literal["dataset"]
    name: str
    number: int
    digest: str
    report: dict[str, Any]
    lineage: dict[str, Any]
    job: str | None
    created_at: datetime


class DatasetList(BaseModel):
    object: Literal["list"]
    data: list[DatasetView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedDataset(BaseModel):
    id: str
    object: Literal["dataset"]
    deleted: bool


def model(served: Served, names: Mapping[str, list[str]]) -> dict[str, Any]:
    """A model that a worker serves for everybody. `names`: aliases by what they lead to."""
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "penstock",
        # Beyond OpenAI's: the tokens that a prompt and its answer may have together.
        "max_model_len": served.context,
        "digest": served.digest or None,
        "prices": _prices(served),
        "aliases": names.get(served.name, []),
        "served": True,
        "stage": None,
        "withdrawn": False,
        "version": None,
        "number": None,
        "base": None,
        "base_digest": None,
        "adapter": False,
        "job": None,
        "lineage": None,
        "metrics": None,
    }


def version(row: Version, served: Served | None, names: Mapping[str, list[str]]) -> dict[str, Any]:
    """A version; `served`: as it can be asked for now, None when no worker has what it needs."""
    return {
        "id": row.name,
        "object": "model",
        "created": int((row.published_at or row.created_at).timestamp()),
        "owned_by": row.name.split(":")[-3],
        "max_model_len": served.context if served is not None else row.context,
        "digest": row.digest,
        "prices": _prices(served) if served is not None else None,
        "aliases": names.get(row.name, []),
        "served": served is not None,
        "stage": row.stage,
        "withdrawn": row.withdrawn_at is not None,
        "version": row.id,
        "number": row.number,
        "base": row.base,
        "base_digest": row.base_digest or None,
        "adapter": row.kind == "adapter",
        "job": row.job_id,
        "lineage": row.lineage,
        "metrics": row.metrics,
    }


def _prices(served: Served) -> dict[str, str]:
    prices = served.prices
    return {"in": plain(prices.ask), "out": plain(prices.say), "cached": plain(prices.cached)}


def stage_move(row: StageMove) -> dict[str, Any]:
    return {
        "object": "model.stage_move",
        "was": row.was,
        "stage": row.stage,
        "key_id": row.key_id,
        "reason": row.reason,
        "audit": row.audit,
        "at": rfc3339(row.at),
    }


def alias(row: Alias) -> dict[str, Any]:
    """A tenant's own."""
    return {
        "object": "alias",
        "name": row.name,
        "model": row.target,
        "version": row.version_id,
        "own": True,
        "moved_at": rfc3339(row.moved_at),
    }


def everyones(name: str, target: str) -> dict[str, Any]:
    """An alias of the settings."""
    return {
        "object": "alias",
        "name": name,
        "model": target,
        "version": None,
        "own": False,
        "moved_at": None,
    }


def alias_move(row: AliasMove) -> dict[str, Any]:
    return {
        "object": "alias.move",
        "was": row.was,
        "model": row.target,
        "key_id": row.key_id,
        "reason": row.reason,
        "audit": row.audit,
        "rollback": row.undoes is not None,
        "at": rfc3339(row.at),
    }


def dataset(row: DatasetVersion) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "dataset",
        "name": row.name,
        "number": row.number,
        "digest": row.digest,
        "report": row.report,
        "lineage": row.lineage,
        "job": row.job_id,
        "created_at": rfc3339(row.created_at),
    }
