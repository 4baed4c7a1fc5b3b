"""Where a training's processes run, and in which environment."""

import os
from pathlib import Path

from core.config import Settings
from core.errors import Refused
from core.training import devices
from workers.ranks import Host, hosts_of


def places(settings: Settings) -> tuple[int, list[Host]]:
    """How many ranks a training has, and on which hosts; none: all on this one.

    Raises Refused for a hostfile that cannot be read.
    """
    if not settings.training_hostfile:
        return settings.training_ranks or max(len(devices.gpus()), 1), []
    try:
        hosts = hosts_of(Path(settings.training_hostfile).read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"PENSTOCK_TRAINING_HOSTFILE: {error}", code="hostfile_unusable") from error
    return settings.training_ranks or sum(host.slots for host in hosts), hosts


def environment() -> dict[str, str]:
    """For the children, beside ours."""
    if devices.gpus():
        return {}
    cores = max(1, len(os.sched_getaffinity(0)) - 1)
    # Without the first two DeepSpeed looks for a GPU; and threads that spin would hold the cores that engines need.
    return {
        "DS_ACCELERATOR": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(cores)),
        "TOKENIZERS_PARALLELISM": "false",
    }
