"""What an audit's findings say to the gate: what failed, in words, and how much was asked."""

from dataclasses import dataclass
from typing import Any

from core.gate.tables import Audit

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


def failed(audit: Audit) -> bool:
    """Whether a critical check failed, also where the whole is INVALID because another suite could not be read."""
    checks = (audit.findings or {}).get("checks") or []
    return audit.verdict == "FAIL" or any(
        one.get("verdict") == "FAIL" and one.get("tier") == "critical" for one in checks
    )


def asked_less(one: Audit, other: Audit) -> bool:
    """Whether `one` asked fewer items of some suite than `other` did."""
    ours, theirs = _asked(one), _asked(other)
    return any(ours.get(suite, 0) < items for suite, items in theirs.items())


def _asked(audit: Audit) -> dict[str, int]:
    suites = (audit.findings or {}).get("suites") or []
    return {one["suite"]: int(one.get("items") or 0) for one in suites}


def _called(check: dict[str, Any]) -> str:
    of = ", ".join(f"{name} {value}" for name, value in (check.get("group") or {}).items())
    return f"{check.get('metric')} ({of})" if of else str(check.get("metric"))
