"""What POST /v1/moderations takes and gives: OpenAI's shape over our classifiers."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.classifiers import listed
from core.classifiers.classifier import Classifier, flagged
from core.errors import InvalidInput

MAX_INPUTS = 1000
MAX_CHARS = 1_000_000
# What clients that know OpenAI alone ask for: here, the classifier of the settings.
THEIRS = ("omni-moderation-latest", "text-moderation-latest", "text-moderation-stable")
# OpenAI's categories; what a classifier does not judge is null, never "not flagged".
CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent",
    "self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence",
    "violence/graphic",
)  # fmt: skip


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class Moderations(BaseModel):
    """`model`: a classifier that is built in or set, or one of OpenAI's names for the one that is set."""

    model_config = ConfigDict(extra="forbid", strict=True)
    input: str | list[str] | list[TextPart]
    model: str | None = Field(None, max_length=128)

    @field_validator("input", mode="wrap")
    @classmethod
    def _one_complaint(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        """Of three forms pydantic would complain three times, naming its own branches as fields."""
        for number, part in enumerate(value if isinstance(value, list) else ()):
            if isinstance(part, dict) and part.get("type") == "image_url":
                raise ValueError(f"part {number} is an image; only text is judged here")
        if isinstance(value, list) and not 1 <= len(value) <= MAX_INPUTS:
            raise ValueError(f"must have 1 to {MAX_INPUTS} texts")
        try:
            return check(value)
        except ValidationError:
            told = 'must be a text, a list of texts, or a list of {"type": "text", "text": ...}'
            raise ValueError(told) from None

    def texts(self) -> list[str]:
        """One for each result: parts of one input are judged together, as OpenAI does. Raises InvalidInput."""
        if isinstance(self.input, str):
            found = [self.input]
        else:
            plain = [one for one in self.input if isinstance(one, str)]
            parts = [one.text for one in self.input if isinstance(one, TextPart)]
            found = plain or ["\n".join(parts)]
        if sum(map(len, found)) > MAX_CHARS:
            raise InvalidInput(
                f"input has more than {MAX_CHARS} characters; send fewer at once", param="input"
            )
        return found

    def classifier(self) -> Classifier:
        """Raises InvalidInput: a request never names code, only what the operator has set or we ship."""
        mine = listed.classifier()
        if self.model is None or self.model in (*THEIRS, mine.name):
            return mine
        if self.model in listed.BUILT_IN:
            return listed.classifier(self.model)
        names = ", ".join(dict.fromkeys((mine.name, *listed.BUILT_IN)))
        raise InvalidInput(
            f"The model {self.model!r} is no classifier here. Classifiers: {names}.",
            param="model",
            code="model_not_found",
        )


def result(classifier: Classifier, scores: Mapping[str, float]) -> dict[str, Any]:
    """One of the answer's results: OpenAI's categories, and the classifier's own beyond them."""
    found = flagged(classifier, scores)
    names = dict.fromkeys((*CATEGORIES, *classifier.categories))
    return {
        "flagged": bool(found),
        "categories": {n: n in found if n in scores else None for n in names},
        "category_scores": {n: scores.get(n) for n in names},
        "category_applied_input_types": {n: ["text"] if n in scores else [] for n in names},
    }
