"""The plan of one run, as its starter wrote it: sources, rules, tokenizer, where to put what comes out."""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workers.data.problems import Invalid, Problem

Format = Literal["auto", "chat", "completion", "alpaca", "sharegpt", "text", "preference"]
Noise = Literal["case", "punctuation", "whitespace", "typo"]
Share = Annotated[float, Field(ge=0, le=1)]


class Source(BaseModel):
    """One of: `path` (a file; `name` is what its owner calls it), `uri` (s3://bucket/key, or a prefix that ends
    in /), `hub` (a Hugging Face dataset, or a folder that load_dataset reads)."""

    model_config = ConfigDict(extra="forbid")
    path: str | None = None
    name: str | None = None
    uri: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Source":
        if sum(x is not None for x in (self.path, self.uri, self.hub)) != 1:
            raise ValueError("give one of path, uri and hub")
        return self

    @property
    def called(self) -> str:
        return self.name or (Path(self.path).name if self.path else self.uri or self.hub or "")


class Filters(BaseModel):
    """What is mended in a row, and which rows are dropped. Numbers and their sources: docs/data.md.

    By default only the mending that changes no meaning is done and nothing is dropped: who gives chat data chose
    them. `preset: "web"` turns on what texts from the web need; a field that is given goes before the preset.
    """

    model_config = ConfigDict(extra="forbid")
    preset: Literal["none", "web"] = "none"
    unicode: bool = Field(True, description="compose characters (NFC)")
    control: bool = Field(True, description="take out control characters but tab and newline")
    mojibake: bool = Field(False, description="mend text that was decoded wrongly (ftfy)")
    whitespace: bool = Field(False, description="no blanks at line ends, one blank line at most")
    min_chars: int | None = Field(None, ge=1)
    max_chars: int | None = Field(None, ge=1)
    min_words: int | None = Field(None, ge=1)
    max_words: int | None = Field(None, ge=1)
    repetition: bool = Field(False, description="Gopher's rules for repeated lines and n-grams")
    quality: bool = Field(False, description="Gopher's rules for what is prose at all")
    lines: bool = Field(False, description="FineWeb's rules for lists and menus")
    languages: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] | None = Field(
        None, min_length=1
    )
    language_confidence: Share = 0.65
    exact_duplicates: bool = False
    near_duplicates: bool = Field(False, description="MinHash of 5-word shingles, FineWeb's bands")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("preset") == "web":
            return WEB | value
        return value


# FineWeb's order of work for text from the web, languages aside.
WEB: dict[str, Any] = {
    "mojibake": True, "whitespace": True, "min_words": 50, "max_words": 100_000, "repetition": True,
    "quality": True, "lines": True, "exact_duplicates": True, "near_duplicates": True,
}  # fmt: skip


class Augment(BaseModel):
    """More rows out of those for training: what the user says, written otherwise; what is learned stays."""

    model_config = ConfigDict(extra="forbid")
    copies: int = Field(0, ge=0, le=20, description="of each row, beside itself")
    noise: list[Noise] = Field(default_factory=list)
    templates: list[str] = Field(
        default_factory=list, description="such as 'Please answer: {text}'"
    )
    strength: Share = Field(0.1, description="the share of words that noise may touch")

    @model_validator(mode="after")
    def _something(self) -> "Augment":
        if self.copies and not (self.noise or self.templates):
            raise ValueError("copies needs noise or templates; without them the copies are the row")
        if lost := [t for t in self.templates if "{text}" not in t]:
            raise ValueError(f"the template {lost[0]!r} must hold {{text}}")
        return self


class Plan(BaseModel):
    """`batch_size`: rows a step, only for the report's padding. `method`: none for a set of any use.

    `rows`: write the rows themselves as well, in our own form; without `tokenise` they are all that is written.
    """

    model_config = ConfigDict(extra="forbid")
    sources: list[Source] = Field(min_length=1)
    validation: list[Source] = Field(default_factory=list)
    validation_share: float = Field(0.0, ge=0, le=0.5)
    format: Format = "auto"
    filters: Filters = Filters()
    augment: Augment = Augment()
    tokenizer: str | None = None
    method: Literal["supervised", "dpo"] | None = None
    max_length: int = Field(1024, ge=8)
    packing: bool = True
    batch_size: int = Field(8, ge=1)
    seed: int = 0
    tokenise: bool = True
    rows: bool = False
    out: Path

    @model_validator(mode="after")
    def _whose(self) -> "Plan":
        if self.tokenise and not self.tokenizer:
            raise ValueError("tokenise needs a tokenizer")
        return self


def read(path: Path) -> Plan:
    """Raises Invalid naming the fields at fault: filters and augment are a client's."""
    try:
        return Plan.model_validate(orjson.loads(path.read_bytes()))
    except ValidationError as error:
        problems = [
            Problem(
                "", 0, ".".join(map(str, one["loc"])), _said(one["type"], one["loc"], one["msg"])
            )
            for one in error.errors()
        ]
        raise Invalid(problems, code="invalid_value", param=problems[0].field) from error


def _said(kind: str, place: tuple[int | str, ...], message: str) -> str:
    """Pydantic's words; of an unknown field, which ones there are."""
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    models: dict[str, type[BaseModel]] = {"filters": Filters, "augment": Augment}
    known = (models.get(str(place[0]), Plan) if len(place) > 1 else Plan).model_fields
    return f"is not known; there are {', '.join(known)}"
