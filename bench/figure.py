"""What a figure is: numbers measured in turns, and how they become a table."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra.part import Part
from tests.rig import ROOT, Rig


@dataclass
class Figure:
    """One table. `verdict` says the target and whether this run met it; `notes` how it was measured."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    verdict: str
    met: bool
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        lines.append("| " + " | ".join(self.header) + " |")
        lines.append("|" + "---|" * len(self.header))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        lines += ["", f"**{'Met' if self.met else 'Short of its target'}**: {self.verdict}", ""]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, and the lowest and highest round."""
    middle = statistics.median(values)
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, since what else the machine does changes from round to round, not within one."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def quantile(values: Sequence[float], q: float) -> float:
    """Of the sorted values; q from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def child(module: str, options: dict[str, Any], env: dict[str, str], timeout_s: float = 600) -> Any:
    """Run `python -m module` with its options as JSON; returns what it prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(options)],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} ended with {done.returncode}; what it said is above")
    return json.loads(done.stdout.decode().strip().rpartition("\n")[2])


def started(module: str, options: dict[str, Any], env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """The same as a process that runs beside us; it says READY on a line when it is."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(options)],
        env=env,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    # vLLM says things on standard output, too.
    while said(process) != "READY":
        continue
    return process


def said(process: "subprocess.Popen[bytes]") -> str:
    """The next line of a child. Raises RuntimeError when it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    if not line:
        raise RuntimeError(f"a benchmark's child ended with {process.wait()}")
    return line.strip()


def cpu_s(parts: Sequence[Part]) -> float:
    """CPU seconds that these parts and all below them have used, the ended ones included."""
    total = 0.0
    for part in parts:
        for process in part.family():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


def everything(rig: Rig) -> list[Part]:
    """Postgres, Redis, the broker and our processes."""
    return [*rig.stack.parts.values(), *rig.parts.values()]


def scratch() -> Path:
    """Where rigs of a run live: the machine's temporary folder."""
    return Path(os.environ.get("TMPDIR", "/tmp"))
