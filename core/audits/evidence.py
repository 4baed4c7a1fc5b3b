"""From scored rows to findings: figures with intervals, groups, flips against the baseline, and the policy's verdict.

Seconds to minutes of arithmetic: called in a thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.audits.chosen import Asked
from core.audits.controls import Held
from core.audits.shapes import plain
from core.gate.evidence import SuiteEvidence
from core.gate.policies import Policy
from core.gate.verdicts import INCONCLUSIVE, INVALID, judge
from core.measures import comparing, disparity, intervals
from core.measures.metric import Metric
from core.measures.rows import Row

NO_POLICY = "no policy: this audit judges nothing and is evidence for nothing"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Who a model is held against, and its rows; without rows: `why` there are none."""

    name: str = ""
    rows: Sequence[Row] | None = None
    why: str = "there is no baseline"


@dataclass(frozen=True, slots=True)
class Answered:
    """A suite with what came of it. `probe`: why its likelihoods could not be asked for; empty: they could."""

    asked: Asked
    rows: Sequence[Row]
    controls: Sequence[Held]
    probe: str = ""
    baseline: Baseline = field(default_factory=Baseline)


@dataclass(frozen=True, slots=True)
class How:
    """Of every interval and draw. `against_production`: the baseline is what the gate would replace, or there is none;
    not one that was named."""

    confidence: float
    seed: int
    render: str = "auto"
    against_production: bool = True


def findings(
    answered: Sequence[Answered], policy: Policy | None, how: How, alive: Callable[[], None]
) -> dict[str, Any]:
    """What `audits.findings` holds but probe, settings and imports: plain JSON."""
    told = {
        "suites": [_suite(one, how, alive) for one in answered],
        "metrics": {m.name: _metric(m) for one in answered for m in one.asked.suite.metrics},
    }
    evidence = {one.asked.suite.name: _evidence(one, how) for one in answered}
    if policy is not None:
        return _plain(judge(policy, evidence, seed=how.seed).data() | told)
    broken = any(one.probe or not all(c.passed for c in one.controls) for one in answered)
    verdict = INVALID if broken else INCONCLUSIVE
    return _plain({"verdict": verdict, "reasons": [NO_POLICY], "checks": []} | told)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = plain(found)
    return made


def _metric(metric: Metric) -> dict[str, Any]:
    """What a figure means, kept with it: an audit outlives its suites."""
    return {
        "title": metric.title, "definition": metric.definition, "source": metric.source,
        "better": metric.better, "unit": metric.unit, "neutral": metric.neutral,
        "low": metric.low, "high": metric.high,
        "share": list(metric.share) if metric.share else None,
    }  # fmt: skip


def _evidence(one: Answered, how: How) -> SuiteEvidence:
    asked, suite = one.asked, one.asked.suite
    return SuiteEvidence(
        name=suite.name,
        version=suite.version,
        rows=one.rows,
        metrics={metric.name: metric for metric in suite.metrics},
        baseline_rows=one.baseline.rows,
        no_baseline=one.baseline.why if one.baseline.rows is None else "",
        baseline=one.baseline.name,
        against_production=how.against_production,
        render=how.render,
        classifier=asked.chosen.classifier[1] if asked.chosen.classifier else "",
        files={name: file["sha256"] for name, file in asked.chosen.files.items()},
        options=asked.chosen.options,
        defaults=suite.options().model_dump(mode="json") if _has_defaults(asked) else {},
        split=asked.chosen.split,
        seed=how.seed,
        items=asked.wished,
        groups=asked.groups,
        controls=[held.name for held in one.controls if not held.passed],
        probe=one.probe,
    )


def _has_defaults(asked: Asked) -> bool:
    """A suite of one's own has options that must be given."""
    return not any(f.is_required() for f in asked.suite.options.model_fields.values())


def _suite(one: Answered, how: How, alive: Callable[[], None]) -> dict[str, Any]:
    suite, rows = one.asked.suite, one.rows
    valid = sum(row.valid for row in rows)
    return {
        "suite": suite.name,
        "version": suite.version,
        "family": suite.family,
        "items": len(rows),
        "valid": valid,
        "valid_rate": valid / len(rows) if rows else None,
        "clusters": len({row.cluster for row in rows}),
        "controls": [
            {"name": held.name, "passed": held.passed, "misses": list(held.misses)}
            for held in one.controls
        ],
        "figures": list(_figures(one, how, alive)),
        "disparities": list(_disparities(one, how, alive)),
        "flips": _flips(one, how),
    }


def _figures(one: Answered, how: How, alive: Callable[[], None]) -> Any:
    groups: list[dict[str, str]] = [{}]
    for dimension in one.asked.suite.group_by:
        values = sorted({row.groups[dimension] for row in one.rows if dimension in row.groups})
        groups += [{dimension: value} for value in values]
    for group in groups:
        rows = [row for row in one.rows if group.items() <= row.groups.items()]
        for metric in one.asked.suite.metrics:
            alive()
            found = intervals.estimate(metric, rows, confidence=how.confidence, seed=how.seed)
            yield {"metric": metric.name, "group": group, "estimate": asdict(found)}


def _disparities(one: Answered, how: How, alive: Callable[[], None]) -> Any:
    for dimension in one.asked.suite.group_by:
        if len({row.groups.get(dimension) for row in one.rows if dimension in row.groups}) < 2:
            continue
        for metric in one.asked.suite.metrics:
            alive()
            found = disparity.disparity(
                metric, one.rows, dimension, confidence=how.confidence, seed=how.seed
            )
            yield {
                "metric": metric.name, "dimension": dimension, "gap": found.gap,
                "null_95": found.null_95, "p_any": found.p_any,
                "groups": [
                    {"group": name, "estimate": asdict(each.estimate), "p_rest": each.p_rest}
                    for name, each in found.each.items()
                ],
            }  # fmt: skip


def _flips(one: Answered, how: How) -> dict[str, Any] | None:
    """Items that only one of the two gets right, by the suite's first share."""
    metric = _share(one.asked.suite.metrics)
    if one.baseline.rows is None or metric is None:
        return None
    found = comparing.paired(
        metric, one.rows, one.baseline.rows, confidence=how.confidence, seed=how.seed
    )
    return {
        "baseline": one.baseline.name, "metric": metric.name, "lost": list(found.lost),
        "gained": list(found.gained), "both": found.n - len(found.lost) - len(found.gained),
    }  # fmt: skip


def _share(metrics: Sequence[Metric]) -> Metric | None:
    return next((metric for metric in metrics if metric.share is not None), None)
