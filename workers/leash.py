"""Runs one command on a leash: it is killed when the process that started it dies, whatever killed that.

    python -I -S leash.py PARENT_PID COMMAND ARGUMENTS...

A program of its own, and not a preexec function: between fork and exec of a process with threads
nothing but system calls is safe. Only Linux has leashes; elsewhere the command just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # Kept over the exec below. A rank that only got SIGTERM might hang in a collective and keep the GPU.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone already")
    os.execvp(command[0], command)  # noqa: S606 - replacing itself is its whole purpose


if __name__ == "__main__":
    main()
