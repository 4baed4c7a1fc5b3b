"""A process to supervise: makes its sign, then waits to be ended.

child.py SIGN HOW: `waits`; `ends` stops at once with 3; `stubborn` and `deaf` do not hear SIGTERM;
`family` starts a child in a session of its own, as engines do, and writes its pid into SIGN.family.
"""

import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    sign, how = Path(sys.argv[1]), sys.argv[2]
    if how == "ends":
        sys.exit(3)
    if how in ("stubborn", "deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "family":
        command = [sys.executable, "-c", "import signal; signal.pause()"]
        child = subprocess.Popen(command, start_new_session=True)
        sign.with_suffix(".family").write_text(str(child.pid))
    sign.touch()
    signal.pause()


if __name__ == "__main__":
    main()
