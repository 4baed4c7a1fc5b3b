"""What this host has for a training, found without loading torch."""

import os
import subprocess
from pathlib import Path

import psutil

from core.training.duration import Device
from core.training.fitting import Capacity

# Of the host's memory: for the rest of what runs here.
LEFT = 0.9
_ASK = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))


def here() -> tuple[Capacity, Device]:
    """The GPUs that our children may use, the memory that is free for them, and how fast they are."""
    found = gpus()
    host = int(_free_bytes() * LEFT)
    if not found:
        return Capacity(0, host), Device(cores=len(os.sched_getaffinity(0)))
    # The smallest decides: the work is divided evenly.
    name, size = min(found, key=lambda one: one[1])
    return Capacity(int(size * LEFT), host, gpus=len(found)), Device(name)


def gpus() -> list[tuple[str, int]]:
    """Name and memory in bytes of each NVIDIA GPU that CUDA_VISIBLE_DEVICES leaves."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        said = subprocess.run(  # noqa: S603 - our own words only
            _ASK, capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rsplit(",", 1) for line in said.splitlines() if line.strip()]
    found = [(name.strip(), int(float(size)) * 2**20) for name, size in rows]
    if visible is None:
        return found
    chosen = [one.strip() for one in visible.split(",")]
    return [found[int(one)] for one in chosen if one.isdigit() and int(one) < len(found)]


def _free_bytes() -> int:
    """What is free on the host, or within the container's limit."""
    free = int(psutil.virtual_memory().available)
    try:
        most, used = (path.read_text().strip() for path in _CGROUP)
    except OSError:
        return free
    return min(free, int(most) - int(used)) if most.isdigit() else free
