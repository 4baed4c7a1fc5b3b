"""What an audit tells of itself while it runs: its plan, how far it is, and each finding once."""

import time
from typing import Any

from core.events import types
from core.jobs import audit
from workers.context import Attempt

# Who watches sees it so much later at most.
TELL_S = 1.0


class Telling:
    """Of one attempt. What earlier ones told is not told again."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        before = attempt.progress() or {}
        self._planned = "plan" in before
        self._found = set(before.get("findings", ()))
        self._last = 0.0

    def alive(self) -> None:
        """Also from threads: it only sets a number."""
        self._attempt.last_progress = time.monotonic()

    def plan(self, found: dict[str, Any]) -> None:
        if not self._planned:
            self.phase("plan", total=found["items"], plan=found)

    def phase(self, name: str, done: int = 0, total: int = 0, **more: Any) -> None:
        self._last = time.monotonic()
        told = {"phase": name, "done": done, "total": total, "eta_s": None} | more
        self._attempt.tell(types.PROGRESS, told)

    def finding(self, check: dict[str, Any]) -> None:
        if audit.called(check) not in self._found:
            self._attempt.tell(types.FINDING, check)

    def collected(self, done: int, total: int, began: float, first: int) -> None:
        """How far, at most once a second. `first`: how many were there when this attempt began."""
        self.alive()
        now = time.monotonic()
        if now - self._last < TELL_S and done < total:
            return
        rate = (done - first) / max(now - began, 1e-3)
        eta_s = round((total - done) / rate, 1) if rate > 0 else None
        self.phase("collect", done, total, eta_s=eta_s)
