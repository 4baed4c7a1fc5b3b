"""Loaded by vLLM in its own processes (entry point vllm.general_plugins): an engine never outlives its worker.

vLLM's engine process does not notice that its parent was killed; left alone it would keep the GPU.
"""

import ctypes
import os
import signal

PARENT = "PENSTOCK_ENGINE_PARENT"
_PR_SET_PDEATHSIG = 1


def register() -> None:
    """In the engine's processes: die with the parent, and leave the terminal's signals alone."""
    parent = os.environ.get(PARENT)
    if parent is None or parent == str(os.getpid()):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the line above took effect.
    if os.getppid() != int(parent):
        os._exit(1)
    # Processes that the engine itself starts, on several GPUs, are tied to it in turn.
    os.environ[PARENT] = str(os.getpid())
    # Ctrl-C in the worker's terminal would reach us too and abort every running request.
    if os.getpgrp() != os.getpid():
        os.setsid()
