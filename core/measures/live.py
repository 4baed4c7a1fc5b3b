"""A test that may be looked at after every observation: an e-process by betting (Waudby-Smith and Ramdas 2024).

One bets against the hypothesis, beginning with 1; if it is true, the chance that this ever grows to 1 / alpha
is at most alpha (Ville's inequality), however often one looks. A z-test that is repeated has no such bound: with 100
looks it alarms in 39 % of streams in which nothing happens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# The shares of the capital that are put at risk, a fifth of it on each: small ones find small effects late, large ones
# find large effects at once. Below 1/2 no single observation can cost more than half.
STAKES = (0.05, 0.1, 0.2, 0.3, 0.45)


@dataclass(frozen=True, slots=True)
class Betting:
    """Evidence against "the mean of y is 0 or less", of observations y within -1 and 1.

    The state is `n` and five logarithms: `stored()` is JSON, `restored` takes it up again."""

    n: int = 0
    logs: tuple[float, ...] = field(default=(0.0,) * len(STAKES))
    # The largest evidence so far: once over 1 / alpha, the test has rejected for good.
    peak: float = 1.0

    def update(self, y: float) -> "Betting":
        if not -1 <= y <= 1:
            raise ValueError(f"an observation lies within -1 and 1, not at {y}")
        logs = tuple(
            log + math.log1p(stake * y) for log, stake in zip(self.logs, STAKES, strict=True)
        )
        return Betting(self.n + 1, logs, max(self.peak, _capital(logs)))

    def updated(self, many: Sequence[float]) -> "Betting":
        state = self
        for y in many:
            state = state.update(y)
        return state

    @property
    def evidence(self) -> float:
        """The capital, in units of what it began with."""
        return _capital(self.logs)

    def alarmed(self, alpha: float = 0.05) -> bool:
        return self.peak >= 1 / alpha

    def stored(self) -> dict[str, Any]:
        return {"n": self.n, "logs": list(self.logs), "peak": self.peak}


def _capital(logs: Sequence[float]) -> float:
    # Beyond e^700 a float ends; no alpha asks for more.
    return sum(math.exp(min(700.0, log)) for log in logs) / len(STAKES)


def restored(state: dict[str, Any]) -> Betting:
    return Betting(
        int(state["n"]), tuple(float(log) for log in state["logs"]), float(state["peak"])
    )


def pair(ours: float, theirs: float, *, margin: float = 0.0) -> float:
    """One observation of "ours exceeds theirs by more than `margin`", both within 0 and 1 and met as a pair."""
    return (ours - theirs - margin) / (1 + margin)


def excess(seen: float, *, over: float) -> float:
    """One observation of "the rate is more than `over`", where `seen` is within 0 and 1 and 0 < over < 1."""
    return (seen - over) / max(over, 1 - over)
