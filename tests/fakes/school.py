"""One process that trains plan after plan, since loading torch and its libraries takes longer than these lessons.

A line of its input is {"plan": path, "stop_at": step or null, "stop_by": "file" or "SIGTERM",
"file_bytes": limit or null}; a line of its output, after what libraries say there, the list of events
of that run behind the word EVENTS.
"""

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from workers.trainer import plan as plans
from workers.trainer import running
from workers.trainer.stopping import Stop
from workers.trainer.telling import Voice


class Listened(Voice):
    """Keeps the events, and asks for a stop at a step."""

    def __init__(self, plan: Path, stop_at: int | None, stop_by: str) -> None:
        super().__init__(1)
        self.events: list[dict[str, Any]] = []
        self.plan, self.stop_at, self.stop_by = plan, stop_at, stop_by

    def _write(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["type"] == "step" and event["step"] == self.stop_at:
            if self.stop_by == "file":
                (self.plan.parent / "stop").touch()
            else:
                os.kill(os.getpid(), signal.Signals[self.stop_by])


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        wish = json.loads(line)
        path = Path(wish["plan"])
        (path.parent / "stop").unlink(missing_ok=True)
        voice = Listened(path, wish["stop_at"], wish["stop_by"])
        stop = Stop(path.parent / "stop")
        stop.listen()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (wish["file_bytes"] or soft, hard))
            running.run(plans.load(path), voice, stop)
        except (SystemExit, Exception):
            traceback.print_exc()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print("EVENTS", json.dumps(voice.events), flush=True)


if __name__ == "__main__":
    main()
