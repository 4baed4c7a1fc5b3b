"""Loaded by vLLM in its own processes (entry point vllm.general_plugins): an engine never outlives its worker.

vLLM's engine process does not notice that its parent was killed; left alone it would keep the GPU.
And on a CPU adapters are applied our way (workers/vllm_lora.py).
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import Any

from vllm.platforms.cpu import CpuPlatform

PARENT = "PENSTOCK_ENGINE_PARENT"
# Set where the model runs on the CPU: it would otherwise hold up, by a scheduler's time slice at each step
# of their way, the processes that bring its work and carry its answers.
NICE = "PENSTOCK_ENGINE_NICE"
_PR_SET_PDEATHSIG = 1


def register() -> None:
    """In the engine's processes: die with the parent, and leave the terminal's signals alone."""
    # vLLM asks its platform for the name of the class that applies adapters, and has no setting for it.
    CpuPlatform.get_punica_wrapper = classmethod(_lora)
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
    _yield(os.environ.get(NICE, "0"))


def _lora(_: Any) -> str:
    return "workers.vllm_lora.GroupedLora"


def _yield(nice: str) -> None:
    os.nice(int(nice))
    # Linux shares the CPU among sessions first, where autogroups are on, and this one is a session.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(nice)
