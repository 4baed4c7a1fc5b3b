"""Which items a report quotes: of each suite the ten worst, by the check of it that stands worst."""

from dataclasses import dataclass
from typing import Any

from core.audits.report.known import Known
from core.audits.report.reading import Found
from core.audits.report.words import VERDICTS
from core.audits.report.worst import SHOWN, worst
from core.measures.rows import Row


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items of one suite with what each moves the figure by; `metric` None: they are those that cannot be read."""

    metric: str | None
    check: str | None
    group: dict[str, str]
    items: list[tuple[Row, float | None]]


def chosen(found: Found, known: Known) -> dict[str, Chosen]:
    """By suite. Answers that could not be read come first where they are why a check is INVALID."""
    findings = found.audit.findings or {}
    return {
        one["suite"]: _of_suite(found.rows.get(one["suite"], []), one, findings, known)
        for one in findings.get("suites", [])
    }


def _of_suite(
    rows: list[Row], one: dict[str, Any], findings: dict[str, Any], known: Known
) -> Chosen:
    name = one["suite"]
    unread: list[tuple[Row, float | None]] = [(row, None) for row in rows if not row.valid]
    for check in _checks(name, findings):
        if check["verdict"] == "INVALID" and unread:
            return Chosen(None, check["id"], {}, unread[:SHOWN])
        of = known.metrics.get(check["metric"])
        group = {k: v for k, v in (check.get("group") or {}).items() if v != "*"}
        within = [row for row in rows if group.items() <= row.groups.items()]
        if of and (items := worst(of, within, check.get("limit") or {})):
            return Chosen(of.name, check["id"], group, [*items])
    for figure in one.get("figures", []):
        of = known.metrics.get(figure["metric"])
        if of and not figure["group"] and (items := worst(of, rows, {})):
            return Chosen(of.name, None, {}, [*items])
    return Chosen(None, None, {}, unread[:SHOWN])


def _checks(name: str, findings: dict[str, Any]) -> list[dict[str, Any]]:
    """The checks of a suite, the worst first, critical before advisory."""
    measured = {f["metric"] for s in findings["suites"] if s["suite"] == name for f in s["figures"]}
    of = [c for c in findings.get("checks", []) if c["metric"] in measured]
    return sorted(of, key=lambda c: (c["tier"] != "critical", VERDICTS.index(c["verdict"])))
