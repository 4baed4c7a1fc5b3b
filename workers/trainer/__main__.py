"""`python -m workers.trainer PLAN`: one rank of a run; its place is in RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT."""

import importlib
import os
import sys
from pathlib import Path

from workers.trainer import plan as plans
from workers.trainer.telling import Voice

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# A rank that hub or tokeniser libraries kept waiting for a network would be a rank that hangs.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> None:
    plan = plans.load(Path(sys.argv[1]))
    voice = Voice()
    voice.phase("loading")
    if os.environ.get("WORLD_SIZE", "1") == "1" and plan.deepspeed is None:
        # A world of one would be wrapped for gradients that nobody shares.
        for name in PLACE:
            os.environ.pop(name, None)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Only now: what they import takes seconds, and reads the environment.
    if not importlib.import_module("torch").cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    stopping = importlib.import_module("workers.trainer.stopping")
    running = importlib.import_module("workers.trainer.running")
    stop = stopping.Stop(plan.stop)
    stop.listen()
    running.run(plan, voice, stop)


if __name__ == "__main__":
    main()
