"""The far end of a rank on another host: runs its command for as long as its standard input is open.

    ssh HOST python tether.py      first line of input: {"argv": [...], "env": {...}, "folder": "..."}

An ssh client that is killed takes nothing with it on the other side but the connection: so that is what
the command hangs on. The environment comes as input, since a command line is there for everybody to read.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

# After the connection is gone; a checkpoint is not worth waiting for, nobody would be told of it.
GRACE_S = 5.0


def main() -> None:
    asked = json.loads(sys.stdin.buffer.readline())
    leash = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("leash.py")),
        str(os.getpid()),
    ]
    process = subprocess.Popen(  # noqa: S603 - what the worker that holds the job asked for
        [*leash, *asked["argv"]],
        cwd=asked["folder"],
        env=os.environ | asked["env"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    status = process.wait()
    with contextlib.suppress(ProcessLookupError):
        # What the rank started and left behind is in its group.
        os.killpg(process.pid, signal.SIGKILL)
    # As a shell says it: ssh hands on a number and no signal.
    sys.exit(status if status >= 0 else 128 - status)


def _end_with_input(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1024):
        continue
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
