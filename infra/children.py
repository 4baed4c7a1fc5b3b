"""Penstock's own processes as parts: api, control, and the workers of each kind."""

import os
import sys
from pathlib import Path

import httpx

from core.config import Settings
from infra.folder import free_port
from infra.part import Part

# After the drain a worker still records what it hands back.
AFTER_DRAIN_S = 5.0


# Not part of a start that is waited for: their libraries take seconds to load, and few need them at once.
LATER = ("embedding", "finetune")


def children(
    folder: Path, host: str, port: int, config: Settings
) -> tuple[list[Part], list[Part], dict[str, int]]:
    """The parts of a start, those that follow it, and the metrics port of each.

    They inherit the environment as it is now.
    """
    kinds = ["inference", "webhooks", "finetune"]
    if config.embedding_source:
        kinds.append("embedding")
    metrics = {name: free_port() for name in ("api", "control", *kinds)}
    api = _part(folder, "api", ["api", "--host", host, "--port", str(port)], port)
    control = _part(folder, "control", ["control"], metrics["control"])
    # Control outlives the workers, so that what they announce at their end still leaves.
    control.stop_rank = 1
    workers = [_part(folder, kind, ["worker", kind], metrics[kind]) for kind in kinds]
    for part in (api, *workers):
        part.grace_s = config.drain_s + AFTER_DRAIN_S
        if part.name == "finetune":
            part.grace_s = config.training_grace_s + AFTER_DRAIN_S
    parts = [api, control, *workers]
    for part in parts:
        part.env["PENSTOCK_METRICS_PORT"] = str(metrics[part.name])
    now = [p for p in parts if p.name not in LATER]
    return now, [p for p in parts if p.name in LATER], metrics


def _part(folder: Path, name: str, command: list[str], port: int) -> Part:
    url = f"http://127.0.0.1:{port}/health/ready"
    return Part(
        name=name,
        argv=[sys.executable, "-m", "infra.cli.main", *command],
        env=dict(os.environ),
        log=folder / "logs" / f"{name}.log",
        ready=lambda: answers(url),
    )


def answers(url: str) -> bool:
    """Whether a GET is answered with 200; the API asks its own dependencies for up to 2 s."""
    try:
        # The machine's proxy settings are not for 127.0.0.1.
        return httpx.get(url, timeout=3.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
