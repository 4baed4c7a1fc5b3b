"""What a model's tokens cost: exact decimals of the currency, for a million tokens."""

from dataclasses import dataclass
from decimal import Decimal

from core.errors import InvalidInput

# A price for a million tokens; six decimals of it, so that a token's has twelve and no sum is rounded.
MILLIONTH = Decimal("0.000001")
MOST = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a million tokens: `ask` of prompts, `say` of answers, `cached` of prompt tokens already computed."""

    ask: Decimal = Decimal(0)
    say: Decimal = Decimal(0)
    cached: Decimal = Decimal(0)

    def cost(self, prompt: int, said: int, cached: int = 0) -> Decimal:
        """Of one job: `cached` of the `prompt` tokens were there already. core/ledger/entries.py says it in SQL."""
        whole = (prompt - cached) * self.ask + cached * self.cached + said * self.say
        return whole * MILLIONTH


FREE = Prices()


def checked(ask: str, say: str, cached: str | None) -> Prices:
    """Prices as written on a command line; without `cached` such tokens cost like any. Raises InvalidInput."""
    made = Prices(
        _price("in", ask), _price("out", say), _price("cached", ask if cached is None else cached)
    )
    # Caps reckon with the full price beforehand, which must then be the most that a token can cost.
    if made.cached > made.ask:
        raise InvalidInput(
            f"cached is {made.cached} and in is {made.ask}: a cached token may not cost more",
            param="cached",
        )
    return made


def _price(name: str, written: str) -> Decimal:
    try:
        price = Decimal(written)
    except ArithmeticError:
        price = Decimal("NaN")
    if not (price.is_finite() and 0 <= price <= MOST and price == price.quantize(MILLIONTH)):
        raise InvalidInput(
            f"{name} must be a price for a million tokens, 0 to {MOST} with at most six decimals, "
            f"not {written!r}",
            param=name,
        )
    return price
