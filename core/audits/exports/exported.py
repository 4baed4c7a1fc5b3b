"""What an export says of an audit: the row and findings, and each suite with its answers, in plain types."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Exported:
    """An audit that has findings. `suites`: as `audits.suites` has them; `findings`: as core/gate/evidence.py writes
    them."""

    id: str
    model: str
    weights: str
    adapter: str
    dataset: str
    policy: str
    suites: list[dict[str, Any]]
    findings: dict[str, Any]
    created: datetime
    published: datetime | None
    penstock: str

    @property
    def identity(self) -> dict[str, Any]:
        """What the figures are true of: goes into each file."""
        return {
            "audit": self.id,
            "verdict": self.findings.get("verdict"),
            "policy": self.policy,
            "weights": self.weights,
            "adapter": self.adapter,
            "dataset": self.dataset,
            "settings": self.findings.get("settings", {}),
            "penstock": self.penstock,
        }

    def of(self, suite: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """How a suite was asked, and what was found."""
        found: dict[str, Any] = next(
            (one for one in self.findings.get("suites", []) if one["suite"] == suite), {}
        )
        return next(one for one in self.suites if one["name"] == suite), found


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as it is recorded: see core/audits/shapes.py."""

    item: str
    number: int
    prompt: str
    answer: Mapping[str, Any]
    row: Mapping[str, Any]
    usage: Mapping[str, Any]


def figures(found: Mapping[str, Any]) -> dict[str, float]:
    """Each figure that is defined, with its interval: name, name_ci_low, name_ci_high; a group in brackets."""
    told: dict[str, float] = {}
    for one in found.get("figures", []):
        name = one["metric"] + bracketed(one.get("group") or {})
        for part, value in (
            ("", one["estimate"]["value"]),
            ("_ci_low", one["estimate"]["low"]),
            ("_ci_high", one["estimate"]["high"]),
        ):
            if value is not None:
                told[name + part] = value
    return told


def undefined(found: Mapping[str, Any]) -> list[str]:
    """Figures that have no value: other tools have no place for one, and 0 would be a lie."""
    return [
        one["metric"] + bracketed(one.get("group") or {})
        for one in found.get("figures", [])
        if one["estimate"]["value"] is None
    ]


def bracketed(group: Mapping[str, str]) -> str:
    inside = " ".join(f"{name}={value}" for name, value in sorted(group.items()))
    return f"[{inside}]" if inside else ""
