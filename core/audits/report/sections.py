"""Parts of the report's document: checks with their definitions, suites with their groups, each with its axis."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.audits.report.axes import axis, marks
from core.audits.report.known import Known
from core.audits.report.words import VERDICTS, limit
from core.events.types import rfc3339
from core.gate.tables import Pass

# Item ids of flips that a report lists; all of them are under /v1/audits/{id}/items.
FLIPS = 50


def checks(findings: Mapping[str, Any], known: Known) -> list[dict[str, Any]]:
    """Critical before advisory, and of each the worst first."""
    of = {f["metric"]: s["suite"] for s in findings.get("suites", []) for f in s["figures"]}
    shown = [_check(one, of.get(one["metric"]), known) for one in findings.get("checks", [])]
    return sorted(shown, key=lambda c: (c["tier"] != "critical", VERDICTS.index(c["verdict"])))


def _check(one: Mapping[str, Any], suite: str | None, known: Known) -> dict[str, Any]:
    about = known.about(one["metric"])
    estimate, compared = one.get("estimate"), one.get("comparison")
    limits = marks(one["limit"])
    margin = one["limit"].get("noninferior")
    if compared is not None:
        # A difference is held against the margin on the side that is worse.
        worse = -1.0 if about["better"] == "higher" else 1.0
        limits = [worse * compared.get("margin", margin or 0.0)]
        drawn = {**compared, "value": compared["delta"]}
        span = axis([drawn], [*limits, 0.0], [None, None])
    else:
        span = axis([estimate], [*limits, about["neutral"], one.get("bound")], about["range"])
    return {
        **one,
        **about,
        "suite": suite,
        "limit_said": limit(one["limit"]),
        "valid_rate": _valid_rate(estimate),
        "axis": span,
        "limit_marks": limits,
    }


def _valid_rate(estimate: Mapping[str, Any] | None) -> float | None:
    return estimate["valid"] / estimate["n"] if estimate and estimate["n"] else None


def suite(one: Mapping[str, Any], known: Known, judged: list[dict[str, Any]]) -> dict[str, Any]:
    """One suite's findings; figures of single groups move into `plots`, one for each metric and dimension."""
    name = one["suite"]
    whole = [_figure(f, known) for f in one["figures"] if not f["group"]]
    return {
        **{k: v for k, v in one.items() if k not in ("figures", "disparities", "flips")},
        **known.about_suite(name),
        "figures": whole,
        "plots": _plots(one, whole, known, judged),
        "disparities": [_disparity(d, known) for d in one.get("disparities", [])],
        "flips": _flips(one.get("flips")),
    }


def _figure(one: Mapping[str, Any], known: Known) -> dict[str, Any]:
    return {
        "metric": one["metric"],
        **known.about(one["metric"]),
        "estimate": one["estimate"],
        "valid_rate": _valid_rate(one["estimate"]),
    }


def _plots(
    one: Mapping[str, Any],
    whole: list[dict[str, Any]],
    known: Known,
    judged: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Every group is there, the furthest from where it should be first: no sum hides one."""
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for figure in one["figures"]:
        if len(figure["group"]) == 1:
            ((dimension, group),) = figure["group"].items()
            row = {"group": group, "estimate": figure["estimate"]}
            by.setdefault((figure["metric"], dimension), []).append(row)
    out = []
    for (name, dimension), rows in by.items():
        about = known.about(name)
        checks = {
            group: check
            for check in judged
            if check["metric"] == name
            for d, group in (check["group"] or {}).items()
            if d == dimension
        }
        for row in rows:
            check = checks.get(row["group"])
            row["verdict"] = check["verdict"] if check else None
        all_of_it = next((w["estimate"] for w in whole if w["metric"] == name), None)
        limits = sorted({m for c in checks.values() for m in marks(c["limit"])})
        estimates = [row["estimate"] for row in rows] + [all_of_it]
        told = any(e is not None and e["value"] is not None for e in estimates)
        out.append(
            {
                "metric": name,
                "dimension": dimension,
                **about,
                "limits": limits,
                # Nothing is drawn of a figure that is undefined for every group.
                "axis": axis(estimates, [*limits, about["neutral"]], about["range"])
                if told
                else None,
                "overall": all_of_it,
                "rows": sorted(rows, key=lambda r: _place(r, about)),
            }
        )
    return out


def _place(row: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[int, float]:
    verdict = VERDICTS.index(row["verdict"]) if row["verdict"] else len(VERDICTS)
    value = row["estimate"]["value"]
    if value is None:
        return verdict, float("inf")
    if about["better"] == "neutral":
        return verdict, -abs(value - (about["neutral"] or 0.0))
    return verdict, value if about["better"] == "higher" else -value


def _disparity(one: Mapping[str, Any], known: Known) -> dict[str, Any]:
    about = known.about(one["metric"])
    ends = [v for v in (one["gap"], one["null_95"]) if v is not None]
    return {**one, "title": about["title"], "axis": axis([], [0.0, *ends], [0.0, None])}


def _flips(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        **given,
        "lost": {"count": len(given["lost"]), "items": given["lost"][:FLIPS]},
        "gained": {"count": len(given["gained"]), "items": given["gained"][:FLIPS]},
    }


def correction(row: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """A correction with before and after on one axis. `row`: see core.studies.tables.Correction."""
    outcome = row["outcome"]
    if not outcome:
        return dict(row)
    held = [_before_after(one, known) for one in outcome.get("held_out", [])]
    return {**row, "outcome": {**outcome, "held_out": held}}


def _before_after(one: Mapping[str, Any], known: Known) -> dict[str, Any]:
    about = known.about(one["metric"])
    ends = axis([one["before"], one["after"]], [about["neutral"]], about["range"])
    return {**one, **about, "limits": [], "axis": ends, "change": one.get("change")}


def door(one: Pass) -> dict[str, Any]:
    """An admission: on this audit, or forced past what was lacking; by which key, why, until when, and its end."""
    return {
        "door": one.door,
        "model": one.model,
        "forced": one.audit is None,
        "reason": one.reason,
        "author": one.key_id,
        "lacking": list(one.lacking or ()),
        "policy": f"{one.policy_name}@{one.policy_version}",
        "at": time(one.at),
        "expires_at": time(one.expires_at),
        "withdrawn_at": time(one.withdrawn_at),
        "withdrawn_by": one.withdrawn_by,
    }


def time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def progress(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How far a running audit is."""
    if not told:
        return None
    found = {name: told[name] for name in ("phase", "done", "total") if name in told}
    return found or None
