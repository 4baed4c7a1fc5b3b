"""Penstock's own processes as parts: api, control, the inference and the webhooks worker."""

import os
import sys
from pathlib import Path

import httpx

from infra.folder import free_port
from infra.part import Part

# After the drain a worker still records what it hands back.
AFTER_DRAIN_S = 5.0


def children(
    folder: Path, host: str, port: int, drain_s: float
) -> tuple[list[Part], dict[str, int]]:
    """The parts, and the metrics port of each. They inherit the environment as it is now."""
    metrics = {name: free_port() for name in ("api", "control", "inference", "webhooks")}
    api = _part(folder, "api", ["api", "--host", host, "--port", str(port)], port)
    control = _part(folder, "control", ["control"], metrics["control"])
    # Control outlives the workers, so that what they announce at their end still leaves.
    control.stop_rank = 1
    workers = [
        _part(folder, kind, ["worker", kind], metrics[kind]) for kind in ("inference", "webhooks")
    ]
    for part in (api, *workers):
        part.grace_s = drain_s + AFTER_DRAIN_S
    parts = [api, control, *workers]
    for part in parts:
        part.env["PENSTOCK_METRICS_PORT"] = str(metrics[part.name])
    return parts, metrics


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
