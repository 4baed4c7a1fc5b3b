"""What an audit's findings say to the gate: what failed, in words, and how much was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.gate.tables import Audit

# As Postgres finds one in an audit's findings (jsonpath).
FAILED_CHECK = '$.checks[*] ? (@.verdict == "FAIL" && @.tier == "critical")'
_TOLD = ("id", "metric", "group", "verdict", "estimate", "bound", "limit", "reason")


@dataclass(frozen=True, slots=True)
class Seen:
    """Of each critical check that did not pass: a sentence, and its fields."""

    words: tuple[str, ...]
    criteria: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, audit: Audit) -> "Seen":
        findings = audit.findings or {}
        missed = [
            one
            for one in findings.get("checks") or []
            if one.get("tier") == "critical" and one.get("verdict") != "PASS"
        ]
        words = tuple(f"{_called(one)}: {one['verdict']}, {one.get('reason')}" for one in missed)
        return cls(
            words or tuple(findings.get("reasons") or ()) or ("its findings name no reason",),
            tuple({name: one.get(name) for name in _TOLD} for one in missed),
        )


def asked(suites: Sequence[Mapping[str, Any]] | None) -> dict[str, int]:
    """How many items of each suite, from `findings.suites`."""
    return {one["suite"]: int(one.get("items") or 0) for one in suites or ()}


def less(ours: Mapping[str, int], theirs: Mapping[str, int]) -> bool:
    """Whether the first asked fewer items of some suite than the second did."""
    return any(ours.get(suite, 0) < items for suite, items in theirs.items())


def _called(check: dict[str, Any]) -> str:
    of = ", ".join(f"{name} {value}" for name, value in (check.get("group") or {}).items())
    return f"{check.get('metric')} ({of})" if of else str(check.get("metric"))
