"""Graders: what is expected of an answer, by rules alone. Models as graders are no evidence of their own."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.audits.suites.graded.similarity import MEASURES
from core.audits.suites.graded.templates import filled, places

Template = Annotated[str, Field(max_length=65536)]


class _Grader(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1, max_length=128)
    input: Template
    reference: Template

    @field_validator("input", "reference")
    @classmethod
    def _readable(cls, value: str) -> str:
        places(value)
        return value

    def texts(self, item: Mapping[str, Any], output: str) -> tuple[str, str]:
        """Input and reference for one answer. Raises KeyError as `filled` does."""
        return filled(self.input, item, output), filled(self.reference, item, output)


class StringCheck(_Grader):
    """`like`: the input contains the reference; `ilike`: whatever the case of its letters."""

    type: Literal["string_check"]
    operation: Literal["eq", "ne", "like", "ilike"]

    def score(self, item: Mapping[str, Any], output: str) -> float:
        given, reference = self.texts(item, output)
        match self.operation:
            case "eq":
                return float(given == reference)
            case "ne":
                return float(given != reference)
            case "like":
                return float(reference in given)
            case "ilike":
                return float(reference.casefold() in given.casefold())

    def passed(self, score: float) -> bool:
        return score == 1.0


class TextSimilarity(_Grader):
    """Passes from `pass_threshold` on."""

    type: Literal["text_similarity"]
    evaluation_metric: str
    pass_threshold: float = Field(ge=0, le=1)

    @field_validator("evaluation_metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in MEASURES:
            raise ValueError(
                f"{value[:32]!r} is not supported here; choose from {', '.join(MEASURES)}"
            )
        return value

    def score(self, item: Mapping[str, Any], output: str) -> float:
        return MEASURES[self.evaluation_metric](*self.texts(item, output))

    def passed(self, score: float) -> bool:
        return score >= self.pass_threshold


Grader = Annotated[StringCheck | TextSimilarity, Field(discriminator="type")]
