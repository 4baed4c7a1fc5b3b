"""The embedding kind: texts in, one vector each out."""

import asyncio
import base64
from array import array
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from core.catalog.models import Served
from core.catalog.tokenizer import Text
from core.errors import InvalidInput
from core.jobs.sampling import no_nul
from core.ledger.caps import Caps

KIND = "embedding"
# OpenAI's own limits: inputs of one request, and tokens of all of them.
MAX_INPUTS = 2048
MAX_TOKENS = 300_000
MAX_CHARS = 1_000_000
# Below so many characters counting takes well under a millisecond.
INLINE_CHARS = 4000


def sound_inputs(value: Any) -> list[Any]:
    """A text, token ids, or a list of either: always as a list. Raises ValueError saying what is wrong."""
    several = isinstance(value, list) and (not value or type(value[0]) is not int)
    inputs = value if several else [value]
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise ValueError(f"must be 1 to {MAX_INPUTS} texts; send more as several requests")
    for number, one in enumerate(inputs):
        if isinstance(one, str):
            no_nul(one)
        elif not isinstance(one, list) or not all(type(i) is int and i >= 0 for i in one):
            raise ValueError(f"{number} is neither a string nor an array of token ids")
        if not one:
            raise ValueError(f"{number} is empty; give at least one character or token")
        if len(one) > MAX_CHARS:
            raise ValueError(f"{number} is longer than {MAX_CHARS}; shorten it")
    return inputs


_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_CHARS}
Inputs = Annotated[
    list[Any],
    BeforeValidator(sound_inputs),
    WithJsonSchema(
        {"anyOf": [_TEXT, _IDS, *({"type": "array", "items": one, "minItems": 1,
                                   "maxItems": MAX_INPUTS} for one in (_TEXT, _IDS))]}
    ),
]  # fmt: skip


class EmbeddingSpec(Caps):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["embedding"] = "embedding"
    model: str = Field("", max_length=256, description="empty: the embedding model")
    input: Inputs
    dimensions: int | None = Field(
        None, ge=1, le=65_536, strict=True, description="shorter vectors, where the model allows it"
    )

    _clean = field_validator("model")(no_nul)

    def reservation(self) -> int:
        """Tokens, told before they are counted: four bytes each."""
        return sum(len(i.encode()) // 4 + 1 if isinstance(i, str) else len(i) for i in self.input)


def check(spec: EmbeddingSpec, model: Served) -> None:
    """What can be said without counting tokens. Raises InvalidInput naming the field."""
    wanted = spec.dimensions
    if wanted is None or wanted == model.dimensions:
        return
    if not model.truncates:
        raise InvalidInput(
            f"dimensions: the vectors of {model.name} cannot be shortened; leave it out, or say "
            f"{model.dimensions}. (PENSTOCK_EMBEDDING_TRUNCATES is for models trained for it.)",
            param="dimensions",
            code="unsupported_value",
        )
    if wanted > model.dimensions:
        raise InvalidInput(
            f"dimensions: {model.name} has {model.dimensions}; ask for at most that",
            param="dimensions",
        )


def token_ids(spec: EmbeddingSpec, text: Text, context: int) -> list[list[int]]:
    """Token ids of each input; what is given as ids is taken as it is.

    Raises InvalidInput for an input longer than the model reads: a vector of its beginning would be a
    silent lie about the rest.
    """
    out, total = [], 0
    for number, one in enumerate(spec.input):
        ids = text.encode(one) if isinstance(one, str) else one
        if wrong := next((i for i in ids if i >= text.size), None):
            raise InvalidInput(
                f"input.{number}: token {wrong} is not in the vocabulary of {text.size}",
                param="input",
            )
        if len(ids) > context:
            raise InvalidInput(
                f"input.{number} has {len(ids)} tokens; the model reads {context}. Shorten or split it.",
                param="input",
                code="context_length_exceeded",
            )
        total += len(ids)
        out.append(ids)
    if total > MAX_TOKENS:
        raise InvalidInput(
            f"input has {total} tokens; at most {MAX_TOKENS} at once. Send several requests.",
            param="input",
        )
    return out


async def counted(spec: EmbeddingSpec, text: Text, context: int) -> list[list[int]]:
    """`token_ids`, on a thread where it would hold the loop. Raises InvalidInput."""
    if sum(map(len, spec.input)) <= INLINE_CHARS:
        return token_ids(spec, text, context)
    return await asyncio.to_thread(token_ids, spec, text, context)


def floats(vector: str) -> list[float]:
    """A vector of a result as numbers."""
    numbers = array("f")
    numbers.frombytes(base64.b64decode(vector))
    return numbers.tolist()


def join(progress: dict[str, Any] | None, _: list[dict[str, Any]]) -> dict[str, Any]:
    """An attempt says nothing before its end, and the next one begins anew."""
    return progress or {}
