"""What a tenant may ask of its guard: the mode, what is looked for, and what is done about it."""

import hashlib
from typing import Annotated, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from core.guard import bounded, lexicon, personal
from core.guard.spans import Action

Mode = Literal["off", "observe", "enforce"]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_/-]{0,31}$")]
# Stands in an answer; inside of JSON as it is, whoever writes that.
Words = Annotated[str, StringConstraints(max_length=64, pattern=r'^[^"\\\x00-\x1f]*$')]
TermText = Annotated[str, StringConstraints(min_length=2, max_length=64)]
MOST_TERMS = 5000
# A category that only its tenant knows must not be called as one of ours.
OURS = frozenset({*personal.CATEGORIES, "encoded", "unchecked", "unrouted"})


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rewrite(Strict):
    """What is done about one category. `text`: what stands in the place of a span; default: [category]."""

    action: Literal["off", "observe", "mask", "rewrite", "stop"]
    text: Words | None = None

    @model_validator(mode="after")
    def _has_text(self) -> "Rewrite":
        if self.action == "rewrite" and self.text is None:
            raise ValueError("rewrite needs text: what is said instead")
        if self.action != "rewrite" and self.text is not None:
            raise ValueError("text goes with action rewrite; leave it out")
        return self


class Lexicon(Strict):
    """A list of terms. `severe`: also found encoded, backwards and rotated by 13 letters."""

    category: Category
    terms: list[TermText] = Field(min_length=1, max_length=MOST_TERMS)
    severe: bool = False

    @field_validator("terms")
    @classmethod
    def _spelled(cls, terms: list[str]) -> list[str]:
        for term in terms:
            if len(lexicon.plain(term)) < 2:
                raise ValueError(f"{term!r} has fewer than two letters or digits; leave it out")
        return terms


class Pattern(Strict):
    """A regular expression, bounded in what it matches (core/guard/bounded.py)."""

    category: Category
    pattern: str

    @model_validator(mode="after")
    def _bounded(self) -> "Pattern":
        bounded.rule(self.category, self.pattern)
        return self


class Judge(Strict):
    """A classifier that is shown each finished sentence. `categories`: those that count, each with the least score;
    empty: all of its card with the card's thresholds. `on_failure`: of a sentence that it has not judged within
    `budget_ms`."""

    # Names of ours alone: a setting of the platform may name code (PENSTOCK_CLASSIFIER), a tenant may not.
    name: str = Field(
        "",
        max_length=64,
        pattern=r"^[a-z0-9-]*(@[0-9]+)?$",
        description="empty: the platform's own",
    )
    digest: str = Field(
        "", max_length=64, description="set by the platform: what its name meant then"
    )
    categories: dict[str, float | None] = Field(default_factory=dict, max_length=32)
    budget_ms: int = Field(150, ge=1, le=5000)
    on_failure: Literal["fail_closed", "fail_open"] = "fail_closed"

    @field_validator("categories")
    @classmethod
    def _shares(cls, value: dict[str, float | None]) -> dict[str, float | None]:
        for name, least in value.items():
            if least is not None and not 0 < least <= 1:
                raise ValueError(f"{name}: a score lies above 0 and at most at 1, not at {least}")
        return value


class Router(Strict):
    """Which sentences the classifier is shown: those alike to one of `examples` and less so to all of `contrast`.
    It only ever decides who looks, never what is said. `model`, `digest`: the embedding model whose vectors those
    are; set by the platform, so that the same settings route alike."""

    examples: list[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = Field(
        min_length=1, max_length=64
    )
    contrast: list[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = Field(
        default_factory=list, max_length=64
    )
    # At which all-MiniLM-L6-v2 kept little from the classifier: the table of docs/guard.md.
    threshold: float = Field(0.15, gt=0, le=1, allow_inf_nan=False)
    model: str = Field("", max_length=256, description="set by the platform")
    digest: str = Field(
        "", pattern="^[0-9a-f]{0,64}$", description="set by the platform: of that model's files"
    )


class Monitor(Strict):
    """A watch on gaps between groups of requests: `group` is the key of a request's metadata that names its group.
    `alpha`: the chance of a false alarm in all of a tenant's life."""

    group: str = Field(min_length=1, max_length=64)
    alpha: float = Field(0.05, gt=0, le=0.5, allow_inf_nan=False)


class GuardSettings(Strict):
    """PUT /v1/guard. `actions` of categories that are not named: mask, and of the classifier's: observe."""

    mode: Mode = "off"
    actions: dict[Category, Rewrite] = Field(default_factory=dict, max_length=128)
    lexicons: list[Lexicon] = Field(default_factory=list, max_length=32)
    patterns: list[Pattern] = Field(default_factory=list, max_length=32)
    classifier: Judge | None = None
    router: Router | None = None
    monitor: Monitor | None = None

    @model_validator(mode="after")
    def _fits(self) -> "GuardSettings":
        own = [one.category for one in self.lexicons] + [one.category for one in self.patterns]
        if taken := next((name for name in own if name in OURS), None):
            raise ValueError(
                f"lexicons and patterns: the category {taken!r} is built in; name yours otherwise"
            )
        if sum(len(one.terms) for one in self.lexicons) > MOST_TERMS:
            raise ValueError(f"lexicons: more than {MOST_TERMS} terms in all; have fewer")
        if self.router is not None and self.classifier is None:
            raise ValueError(
                "router: it decides what the classifier looks at; name a classifier, too"
            )
        return self

    @property
    def digest(self) -> str:
        """sha256 in hexadecimal of all that answers may depend on."""
        body = orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(RULES.encode() + body).hexdigest()

    def action_of(self, category: str, default: Action = "mask") -> Rewrite:
        return self.actions.get(category) or Rewrite(action=default)


# Of the rules that ship: another number, and what was cached under the old ones is not served.
RULES = "rules 2 "
