"""The command line as it looks on a terminal."""

import os
import pty
import subprocess
import sys


def on_a_terminal(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code, and all that was written to the terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", *arguments],
        stdin=slave, stdout=slave, stderr=slave, env=os.environ | env | {"TERM": "xterm"},
    ) as watching:  # fmt: skip
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux ends a terminal whose other side is closed with EIO
                break
            if not part:
                break
            seen += part
    os.close(master)
    return watching.returncode, seen.decode()
