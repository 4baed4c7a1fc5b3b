"""The most that a job or batch may take, in tokens or money, and what that leaves for its answers."""

import re
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from core.catalog.prices import Prices
from core.errors import InvalidInput

MOST = Decimal(1_000_000_000)
# As fine as the ledger counts (core/ledger/tables.py).
_FINEST = Decimal("1E-12")
_WRITTEN = re.compile(r"[0-9]{1,10}(\.[0-9]{1,12})?")
MAX_COST, MAX_TOKENS_TOTAL = "max_cost", "max_tokens_total"


def _money(value: Any) -> Any:
    """A JSON number or a decimal in a string, as exact as it was written."""
    if value is None or isinstance(value, Decimal):
        return value
    written = isinstance(value, str) and _WRITTEN.fullmatch(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # A float says what it prints: 0.1 is a tenth.
    amount = Decimal(str(value)) if written or number else Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= MOST):
        raise ValueError(f'must be an amount from 0 to {MOST}: 0.05, or as a string, "0.05"')
    return amount.quantize(_FINEST, ROUND_DOWN).normalize()


def plain(amount: Decimal) -> str:
    """An amount as JSON has it: a string, since a number would be read as a binary fraction."""
    return f"{amount.normalize():f}"


Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    PlainSerializer(plain),
    WithJsonSchema(
        {"anyOf": [
            {"type": "number", "minimum": 0, "maximum": int(MOST)},
            {"type": "string", "pattern": f"^{_WRITTEN.pattern}$"},
        ]}
    ),
]  # fmt: skip
MaxCost = Annotated[
    Money | None, Field(description="stop at this cost, in the currency of GET /v1/usage")
]
MaxTokensTotal = Annotated[
    int | None,
    Field(ge=1, le=2**53, strict=True, description="stop at so many tokens, the prompt's included"),
]


class Caps(BaseModel):
    """Reached, a job stops in order with what it has: finish_reason "length", and `stopped_by` says which."""

    max_cost: MaxCost = None
    max_tokens_total: MaxTokensTotal = None

    @property
    def capped(self) -> bool:
        return self.max_cost is not None or self.max_tokens_total is not None


def room(caps: Caps, prompt: int, prices: Prices) -> tuple[int, str] | None:
    """Tokens that are left for answers, and by which cap; None: no cap limits them. -1: not even the prompt fits.

    The prompt counts in full: how much of it the engine has already is known too late.
    """
    rooms = []
    if caps.max_tokens_total is not None:
        rooms.append((max(caps.max_tokens_total - prompt, -1), MAX_TOKENS_TOTAL))
    if caps.max_cost is not None:
        left = caps.max_cost - prices.cost(prompt, 0)
        if left < 0:
            rooms.append((-1, MAX_COST))
        elif prices.say > 0:
            rooms.append((int(left / prices.cost(0, 1)), MAX_COST))
    return min(rooms, default=None)


def limit(
    caps: Caps, prompt: int, answers: int, wanted: int, prices: Prices
) -> tuple[int, str | None]:
    """Tokens that each of so many answers may have of `wanted`, and the cap that allows no more."""
    left = room(caps, prompt, prices)
    if left is None or left[0] >= wanted * answers:
        return wanted, None
    return max(left[0] // answers, 0), left[1]


def check(caps: Caps, prompt: int, answers: int, prices: Prices) -> None:
    """Raises InvalidInput when a cap leaves not one token for each of so many answers."""
    left = room(caps, prompt, prices)
    if left is None or left[0] >= answers:
        return
    if left[1] == MAX_TOKENS_TOTAL:
        told = f"{caps.max_tokens_total} and the prompt alone has {prompt} tokens"
        least = str(prompt + answers)
    else:
        told = f"{plain(caps.max_cost or Decimal(0))} and the prompt's {prompt} tokens alone cost "
        told += plain(prices.cost(prompt, 0))
        least = plain(prices.cost(prompt, answers))
    raise InvalidInput(
        f"{left[1]} is {told}, which leaves no token for an answer. Raise it to at least {least}.",
        param=left[1],
        code="budget_too_small",
    )
