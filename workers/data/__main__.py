"""python -m workers.data <plan.json>: runs the plan, tells what happens, and ends with done, stopped or failed."""

import re
import sys
from pathlib import Path

from core.errors import PenstockError, Refused
from workers.data import pipeline, plan
from workers.data.problems import Invalid
from workers.data.telling import Stopped, Telling


def main(path: Path) -> None:
    telling = Telling(path.parent / "stop")
    try:
        made = pipeline.run(plan.read(path), telling)
    except Invalid as error:
        telling.say(error.told())
    except Stopped:
        telling.say({"type": "stopped", "step": 0})
    except PenstockError as error:
        again = not isinstance(error, Refused)
        told = {"code": error.code, "message": error.message, "problems": [], "retryable": again}
        telling.say({"type": "failed", **told})
    except OSError as error:
        if error.errno != 28:
            raise
        message = "The worker's disk is full; free some of it, or give fewer rows."
        telling.say(
            {
                "type": "failed",
                "code": "disk_full",
                "message": message,
                "problems": [],
                "retryable": True,
            }
        )
    else:
        seconds = {name: round(took, 3) for name, took in telling.phases.items()}
        telling.say({"type": "done", "report": made, "seconds": seconds, "peak_bytes": _peak()})


def _peak() -> int:
    """The most memory we had, in bytes. getrusage would count what our starter had before it became us."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
