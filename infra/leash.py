"""Runs one command on a leash: it dies when the process that started it dies, whatever killed that.

    python -I -S leash.py PARENT_PID DEATH_SIGNAL UID GID COMMAND ARGUMENTS...

A program of its own, and not a preexec function: between fork and exec of a process with threads
nothing but system calls is safe. UID -1 keeps the user. Only Linux has leashes; elsewhere the
command just runs.
"""

import ctypes
import os
import resource
import signal
import sys

# linux/prctl.h, linux/capability.h
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 4
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

FILES = 65536


def become(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Drop root but for reading and writing files: Postgres refuses to be root, and the checkout
    may lie in a folder that only root may enter. Opening that to everyone would be worse."""
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    # access() asks on behalf of the real user and forgets the capability, unless this bit is set; initdb
    # and postgres ask it about their own programs.
    libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # The low halves of effective, permitted, inheritable; then their high halves.
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    # Both may fail in a container without that capability: then the file modes have to suffice.
    libc.capset(header, data)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main() -> None:
    parent, death_signal, uid, gid = (int(a) for a in sys.argv[1:5])
    command = sys.argv[5:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if uid >= 0:
            become(libc, uid, gid)
        # After the change of user, which would clear it.
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone already")
    # Thousands of event streams are as many open files; 1024 is the customary soft limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < FILES:
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    # Python ignores these two, and an exec hands that on to programs that expect them.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 - replacing itself is its whole purpose


if __name__ == "__main__":
    main()
