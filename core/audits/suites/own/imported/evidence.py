"""An uploaded result of another tool as rows with counts, marked as what it is: reported, not asked here.

Nothing undefined becomes 0: a null score is no score, an item without one is an item that could not be read.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.audits.suites.records import LONGEST_LINE, Place, line
from core.measures.intervals import estimate
from core.measures.metric import Metric, share
from core.measures.rows import Row

NOT_ASKED = "Not asked through this platform: prompts, model and settings are what the file says, unchecked."


@dataclass(frozen=True, slots=True)
class Evidence:
    """`reported`: figures that the tool gives without items to hold them against: {metric, value, stderr}. `corrected`:
    whether a detector's sensitivity and specificity are known and were used."""

    name: str
    kind: str
    sha256: str
    rows: tuple[Row, ...] = ()
    metrics: tuple[Metric, ...] = ()
    reported: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    tool: dict[str, Any] = field(default_factory=dict)
    corrected: bool = False

    def findings(self, *, confidence: float = 0.95, seed: int = 0) -> dict[str, Any]:
        """As `audits.findings` keeps it under imports."""
        return {
            "name": self.name, "kind": self.kind, "sha256": self.sha256, "imported": True, "tool": self.tool,
            "correction": "corrected" if self.corrected else "uncorrected",
            "items": len(self.rows), "valid": sum(row.valid for row in self.rows),
            "figures": [
                {"metric": one.name, "group": {}, "estimate": asdict(told)}
                for one in self.metrics
                for told in [estimate(one, self.rows, confidence=confidence, seed=seed)]
            ],
            "reported": list(self.reported), "notes": [NOT_ASKED, *self.notes],
        }  # fmt: skip


def digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def records(file: str, path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The JSON objects of a file of JSON lines. Raises InvalidInput naming the line."""
    with path.open("rb") as opened:
        for number, raw in enumerate(iter(lambda: opened.readline(8 * LONGEST_LINE), b""), 1):
            if not raw.strip():
                continue
            try:
                found = json.loads(raw)
            except (ValueError, RecursionError):
                raise line(file, number).wrong("", "is not JSON in UTF-8") from None
            if not isinstance(found, dict):
                raise line(file, number).wrong("", "is no JSON object")
            yield line(file, number), found


def number(value: Any) -> float | None:
    """A finite number; None for null, NaN, text and all else."""
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def mean(name: str, title: str, source: str, where: tuple[str, str], *, rate: bool) -> Metric:
    """Of counts a:<name> over n:<name>; `rate`: of yes and no, for which exact bounds exist."""
    hits, trials = f"a:{name}", f"n:{name}"
    return Metric(
        name=name, title=title, definition="Mean over items that have a score.", source=source,
        value=share(hits, trials), share=(hits, trials) if rate else None,
        better="lower" if source.startswith("garak") else "neutral", where=where,
    )  # fmt: skip


def binary(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)
