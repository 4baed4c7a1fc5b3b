"""What the process tells its starter: one JSON object a line, on the descriptor that PENSTOCK_EVENTS_FD names."""

import os
import time
from pathlib import Path
from typing import Any

import orjson

# Seconds between two progress events.
EVERY_S = 1.0
# Rows between two looks at the clock and at the wish to stop.
LOOK = 256


class Stopped(Exception):
    """The starter asked for the end."""


class Telling:
    """`stop`: the file whose being there asks us to end."""

    def __init__(self, stop: Path) -> None:
        self._fd = int(os.environ.get("PENSTOCK_EVENTS_FD", "1"))
        self._stop = stop
        self._told = 0.0
        self._count = 0
        self.phases: dict[str, float] = {}
        self._phase, self._began = "", time.monotonic()

    def say(self, event: dict[str, Any]) -> None:
        line = memoryview(orjson.dumps(event) + b"\n")
        while line:
            line = line[os.write(self._fd, line) :]

    def phase(self, name: str) -> None:
        """The next stage begins; "" ends the last."""
        now = time.monotonic()
        if self._phase:
            self.phases[self._phase] = self.phases.get(self._phase, 0.0) + now - self._began
        self._phase, self._began = name, now
        self._look()
        if name:
            self.say({"type": "phase", "phase": name})

    def row(self, rows: int) -> None:
        """So many rows of this stage are done: told once a second. Raises Stopped."""
        self._count += 1
        if self._count % LOOK:
            return
        self._look()
        now = time.monotonic()
        if now - self._told >= EVERY_S:
            self._told = now
            self.say({"type": "progress", "phase": self._phase, "rows": rows})

    def _look(self) -> None:
        if self._stop.exists():
            raise Stopped
