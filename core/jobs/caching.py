"""Which requests may be answered from the cache, and what must be the same for that."""

import hashlib
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.catalog.models import Served
from core.errors import InvalidInput
from core.guard.settings import RULES
from core.jobs.inference import InferenceSpec

MAX_TTL_S = 30 * 86400


class CacheWish(BaseModel):
    """`threshold`: the least cosine similarity of the last user texts, for mode semantic."""

    model_config = ConfigDict(extra="forbid", strict=True)
    mode: Literal["off", "exact", "semantic"]
    ttl_s: int | None = Field(None, ge=1, le=MAX_TTL_S)
    threshold: float | None = Field(None, ge=0.5, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fits(self) -> "CacheWish":
        if self.threshold is not None and self.mode != "semantic":
            raise ValueError("threshold goes with mode semantic; leave it out")
        return self


def repeatable(spec: InferenceSpec) -> bool:
    """The same request is meant to get the same answer."""
    return spec.temperature == 0 or spec.seed is not None


def check(spec: InferenceSpec, wish: CacheWish | None) -> None:
    """Raises InvalidInput for a wish that this request cannot have."""
    if wish is None or wish.mode == "off":
        return
    if not repeatable(spec):
        raise InvalidInput(
            "cache: an answer drawn at random is not kept; set temperature 0 or a seed, or leave cache out",
            param="cache",
            code="not_cacheable",
        )
    if wish.mode == "semantic" and last_text(spec) is None:
        raise InvalidInput(
            "cache.mode: semantic compares the last user text: send prompt as a text, or messages that "
            "end with the user's",
            param="cache.mode",
            code="not_cacheable",
        )


def last_text(spec: InferenceSpec) -> str | None:
    """What semantic mode compares: the prompt, or the user's message at the end."""
    if isinstance(spec.prompt, str):
        return spec.prompt
    last = spec.messages[-1] if spec.messages else None
    return last.content if last is not None and last.role == "user" else None


def key(spec: InferenceSpec, model: Served, guard: str = "") -> str:
    """Of everything that an answer depends on, in hexadecimal. `guard`: the digest of the one it goes by."""
    return _digest(model, _plain(spec) | _guarded(guard))


def context(spec: InferenceSpec, model: Served, embeds: Served, guard: str = "") -> str:
    """The same without the last user text: what must be equal where that is only alike."""
    plain = _plain(spec)
    if plain.get("messages"):
        *before, last = plain["messages"]
        plain["messages"] = [*before, {**last, "content": None}]
    else:
        plain["prompt"] = None
    made = [embeds.name, embeds.source, embeds.dimensions, embeds.digest]
    return _digest(model, {**plain, "embeds": made, **_guarded(guard)})


def _guarded(guard: str) -> dict[str, str]:
    """Nothing without one: what was kept before there were guards is still found. A digest outlives the rules that
    shipped when it was made."""
    return {"guard": guard, "rules": RULES} if guard else {}


def _plain(spec: InferenceSpec) -> dict[str, Any]:
    return spec.model_dump(include=set(InferenceSpec.model_fields) - {"model"})


def _digest(model: Served, plain: dict[str, Any]) -> str:
    whole = {"model": [model.name, model.source, model.context, model.digest], **plain}
    canonical = orjson.dumps(whole, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(canonical).hexdigest()
