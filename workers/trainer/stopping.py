"""A request to stop: a file beside the plan, or SIGTERM; all ranks hear of it at the same step."""

import signal
from pathlib import Path
from types import FrameType

import torch
from torch import distributed


class Stop:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._signalled = False

    def listen(self) -> None:
        """From now on SIGTERM asks to stop. Call it on the main thread."""
        signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

    def wanted(self, device: torch.device) -> bool:
        """The same answer on all ranks: each of them has to come here at each step."""
        mine = self._signalled or self._file.exists()
        if not (distributed.is_available() and distributed.is_initialized()):
            return mine
        ours = torch.tensor(int(mine), device=device)
        distributed.all_reduce(ours, op=distributed.ReduceOp.MAX)
        return bool(ours.item())
