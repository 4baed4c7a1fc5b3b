"""What a client asks of an audit: which suites, held against which policy and which other model."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.audits.splitting import Split

Render = Literal["auto", "chat", "plain"]
MAX_SUITES = 64
MAX_ITEMS = 1_000_000
# What a policy is called, with its version or without; "none" judges nothing.
POLICY = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62}(@[1-9]\d{0,8})?)?$"
NO_POLICY = "none"
PRODUCTION = "production"


class SuiteWish(BaseModel):
    """`file`: the one a suite calls "data"; `files`: several by the names that the suite gives them. `items`: ask at
    most so many, drawn evenly over the clusters; null: all. `split`: see core/audits/splitting.py."""

    model_config = ConfigDict(extra="forbid")
    suite: str = Field(min_length=1, max_length=64)
    file: str | None = Field(None, max_length=64)
    files: dict[str, str] | None = Field(None, min_length=1, max_length=16)
    options: dict[str, Any] = Field(default_factory=dict)
    items: int | None = Field(None, ge=1, le=MAX_ITEMS, strict=True)
    split: Split = "all"

    @model_validator(mode="after")
    def _one_way(self) -> "SuiteWish":
        if self.file is not None and self.files is not None:
            raise ValueError('file is short for files: {"data": ...}; give one of the two')
        return self

    @property
    def named(self) -> dict[str, str]:
        """Ids of its files by their names."""
        return {"data": self.file} if self.file is not None else dict(self.files or {})


class AuditWish(BaseModel):
    """No suites: those that the policy's checks need and that need no file."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field("", max_length=256, description="empty: the default model")
    suites: list[SuiteWish] = Field(default_factory=list, max_length=MAX_SUITES)
    policy: str | None = Field(
        None, pattern=POLICY, description='null: the gate\'s; "name", "name@3", or "none"'
    )
    baseline: str | None = Field(
        PRODUCTION, max_length=256, description="what is in production, another model, or null"
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, strict=True, description="of draws and sampling; null: the policy's"
    )
    render: Render = "auto"
    confidence: float = Field(0.95, ge=0.5, lt=1)
    imports: list[str] = Field(default_factory=list, max_length=16)

    @field_validator("model", "baseline")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        if value is not None and ("\x00" in value or any("\ud800" <= c <= "\udfff" for c in value)):
            raise ValueError("must be valid Unicode without NUL characters")
        return value

    @field_validator("suites")
    @classmethod
    def _once(cls, value: list[SuiteWish]) -> list[SuiteWish]:
        names = [one.suite for one in value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"name {twice} twice; make a second audit for it")
        return value
