"""What an answer means for a delivery: done, try again when, or give up. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.webhooks.tables import CANCELLED, DEAD, DELIVERED, PENDING

GONE = 410
THROTTLED = frozenset({429, 503})
RETRY_AFTER_CAP_S = 86_400.0
# An endpoint that says "0 seconds" ten times would burn through its tries in a blink.
RETRY_AFTER_FLOOR_S = 1.0
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one try: a status, or why there is none.

    `error` is set for whatever is not a success; `response` is the beginning of the body.
    """

    status: int | None
    error: str | None = None
    response: str | None = None
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        return self.error is None and self.status is not None and 200 <= self.status < 300


class Verdict(NamedTuple):
    """The delivery's next state; `pause_s` until its next try when that is pending."""

    state: str
    pause_s: float = 0.0


def judge(answer: Answer, *, tries: int, schedule: Sequence[float], jitter: float) -> Verdict:
    """The verdict on the `tries`-th try (1 is the first).

    `schedule[n]` is the pause in seconds before try n + 1; `jitter` in [-0.1, 0.1] spreads it, so
    that what failed together does not come back together. A Retry-After is never undercut.
    """
    if answer.accepted:
        return Verdict(DELIVERED)
    if answer.status == GONE:
        return Verdict(CANCELLED)
    if tries >= len(schedule):
        return Verdict(DEAD)
    if answer.status in THROTTLED and answer.retry_after_s is not None:
        asked = max(answer.retry_after_s, RETRY_AFTER_FLOOR_S) * (1 + abs(jitter))
        return Verdict(PENDING, min(asked, RETRY_AFTER_CAP_S))
    return Verdict(PENDING, schedule[tries] * (1 + jitter))
