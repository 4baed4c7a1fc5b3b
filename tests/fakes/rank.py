"""A rank without a trainer: does what the plan says of it, step by step.

{"ranks": [[["tell", {...}], ["say", "text"], ["spawn"], ["hang"], ["deaf"], ["await", "file"], ["end", 0]], ...]}
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    plan = Path(sys.argv[1])
    for step in json.loads(plan.read_text())["ranks"][int(os.environ["RANK"])]:
        do(plan.parent, *step)


def do(folder: Path, what: str, value: Any = None) -> None:
    match what:
        case "tell":
            told = {k: os.environ[v[1:]] if str(v)[:1] == "$" else v for k, v in value.items()}
            os.write(int(os.environ["PENSTOCK_EVENTS_FD"]), json.dumps(told).encode() + b"\n")
        case "half":
            os.write(int(os.environ["PENSTOCK_EVENTS_FD"]), b'{"type": "st')
        case "say":
            print(value, flush=True)
        case "spawn":
            child = subprocess.Popen(["sleep", "600"])
            (folder / f"child{os.environ['RANK']}").write_text(str(child.pid))
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "hang":
            (folder / f"pid{os.environ['RANK']}").write_text(str(os.getpid()))
            time.sleep(600)
        case "await":
            while not (folder / value).exists():
                time.sleep(0.01)
        case "end":
            sys.exit(value)


if __name__ == "__main__":
    main()
