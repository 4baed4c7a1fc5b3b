"""The trainer's voice: JSON lines on the pipe that its worker reads, and on standard output without one."""

import json
import math
import os
import time
from typing import Any

# A worker that hears nothing for minutes takes us for dead; more often than this it need not hear.
ALIVE_EVERY_S = 10.0
# Ranks share one pipe: a write of up to PIPE_BUF bytes is never mixed with another's.
SHARED_BYTES = 4096


class Voice:
    """Rank 0 tells everything; another rank tells only how it failed."""

    def __init__(self, pipe: int | None = None, *, rank: int | None = None) -> None:
        self._pipe = int(os.environ.get("PENSTOCK_EVENTS_FD", "1")) if pipe is None else pipe
        self.rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        self._spoke = 0.0

    def tell(self, kind: str, **facts: Any) -> None:
        if self.rank == 0 or kind == "failed":
            self._write({"type": kind, **facts})

    def phase(self, name: str) -> None:
        self.tell("phase", phase=name)

    def alive(self) -> None:
        """Between steps that take long."""
        if time.monotonic() - self._spoke >= ALIVE_EVERY_S:
            self.tell("alive")

    def failed(self, code: str, message: str, **facts: Any) -> None:
        self.tell("failed", code=code, message=message[: SHARED_BYTES // 2], **facts)

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(_plain(event), separators=(",", ":")).encode() + b"\n"
        while line:
            line = line[os.write(self._pipe, line) :]
        self._spoke = time.monotonic()


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity; what reads this would stumble over them."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
