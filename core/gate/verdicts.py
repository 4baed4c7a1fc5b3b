"""Verdicts: what a policy says of evidence, by confidence bounds alone; pure, so that it can be asked again.

PASS: the bound is within the limit. FAIL: the evidence against it survives Holm over all critical checks. INVALID:
the figures mean nothing. INCONCLUSIVE: anything else, and whatever has no evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from core.gate import matching
from core.gate.evidence import SuiteEvidence
from core.gate.matching import Question
from core.gate.policies import Check, Policy, Validity
from core.measures import comparing, families, judging
from core.measures.comparing import Paired
from core.measures.metric import Estimate

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
_ALL: tuple[Verdict, Verdict, Verdict, Verdict] = get_args(Verdict)
PASS, FAIL, INCONCLUSIVE, INVALID = _ALL


@dataclass(frozen=True, slots=True)
class Checked:
    """A check of one group. `p`: of the hypothesis that the limit is kept; `p_adjusted`: among those of its tier.
    `part`: why a pass of it would not count; empty: it would."""

    check: Check
    group: Mapping[str, str]
    verdict: Verdict
    reason: str
    estimate: Estimate | None = None
    bound: float | None = None
    p: float = 1.0
    p_adjusted: float = 1.0
    part: str = ""
    comparison: Mapping[str, Any] | None = None

    @property
    def called(self) -> str:
        """As a person reads it: bbq.s_amb@parrish2022 (category Age)."""
        of = ", ".join(f"{name} {value}" for name, value in self.group.items())
        return f"{self.check.metric} ({of})" if of else self.check.metric

    def data(self) -> dict[str, Any]:
        """One of findings.checks."""
        return {
            "id": self.check.id,
            "metric": self.check.metric,
            "group": dict(self.group),
            "tier": self.check.tier,
            "limit": self.check.limit.data(),
            "confidence": self.check.confidence,
            "estimate": None if self.estimate is None else asdict(self.estimate),
            "bound": self.bound,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "verdict": self.verdict,
            "reason": self.reason,
            "paired_with": list(self.check.beside),
            "comparison": None if self.comparison is None else dict(self.comparison),
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """`reasons`: of each critical check that did not pass, in words."""

    verdict: Verdict
    reasons: tuple[str, ...]
    checks: tuple[Checked, ...]

    def data(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "checks": [one.data() for one in self.checks],
        }


def judge(policy: Policy, evidence: Mapping[str, SuiteEvidence], *, seed: int = 0) -> Judgement:
    """The verdict of a policy on what an audit's suites showed, by suite name. `seed`: of the bootstrap.

    What is missing never passes, and no group is judged by the sum of all.
    """
    found = [_measured(policy.validity, one, seed) for one in matching.questions(policy, evidence)]
    checks = tuple(_decided(one, policy.alpha) for one in _adjusted(found))
    critical = [one for one in checks if one.check.tier == "critical"]
    verdicts = {one.verdict for one in critical}
    worst = next((v for v in (INVALID, FAIL, INCONCLUSIVE) if v in verdicts), PASS)
    reasons = tuple(f"{one.called}: {one.reason}" for one in critical if one.verdict != PASS)
    return Judgement(worst, reasons, checks)


def _measured(validity: Validity, question: Question, seed: int) -> Checked:
    """With its figure, not yet held against the others' (`verdict` PASS or INCONCLUSIVE until then)."""
    asked = Checked(question.check, question.group, INCONCLUSIVE, "")
    if question.suite is None:
        return replace(asked, reason=f"no evidence: {question.missing}")
    suite = question.suite
    part = matching.part(question.check, suite.name, suite.items, len(suite.rows))
    asked = replace(asked, part=part)
    rows = question.of(question.suite.rows)
    if broken := _invalid(validity, question, suite):
        return replace(asked, verdict=INVALID, reason=broken)
    if not rows:
        return replace(
            asked, reason="no evidence: none of the items that were asked is of this kind"
        )
    if undrawn := [called for called, group in question.within() if not group]:
        return replace(
            asked, reason=f"no evidence: none of the items that were asked is of {undrawn[0]}"
        )
    measured = _compared if question.check.limit.limit is None else _held
    return measured(validity, question, asked, seed)


def _invalid(validity: Validity, question: Question, suite: SuiteEvidence) -> str:
    """Why a figure of this would mean nothing; empty: it would."""
    if suite.probe:
        return f"{suite.name} could not be asked: {suite.probe}"
    if validity.controls and suite.controls:
        missed = ", ".join(suite.controls)
        return f"{suite.name} does not score its own controls right ({missed}); its figures mean nothing"
    for called, rows in (("", question.of(suite.rows)), *question.within()):
        valid = sum(row.valid for row in rows)
        if rows and valid / len(rows) < validity.min_valid_rate:
            of = f" ({called})" if called else ""
            return f"{valid} of {len(rows)} answers could be read{of}; at least {validity.min_valid_rate:.0%} must be"
    return ""


def _held(validity: Validity, question: Question, asked: Checked, seed: int) -> Checked:
    """Against a limit."""
    check, limit = question.check, question.check.limit.limit
    assert question.suite is not None
    assert limit is not None
    rows = question.of(question.suite.rows)
    found = judging.judged(question.metric, rows, limit, confidence=check.confidence, seed=seed)
    asked = replace(asked, estimate=found.estimate, bound=found.bound)
    if found.estimate.value is None:
        return replace(asked, reason="the figure is undefined for these answers")
    said = f"{_shown(found.estimate)}, bound {_number(found.bound)}, limit {check.limit}"
    if found.estimate.clusters < validity.min_clusters:
        return replace(asked, reason=f"{said}; {_few(found.estimate.clusters, validity)}")
    within = found.bound is not None and limit.holds(found.bound)
    verdict = PASS if within else INCONCLUSIVE
    return replace(asked, verdict=verdict, reason=said, p=found.p_beyond)


def _compared(validity: Validity, question: Question, asked: Checked, seed: int) -> Checked:
    """Against the baseline's answers to the same items."""
    check, suite, margin = question.check, question.suite, question.check.limit.noninferior
    assert suite is not None
    assert margin is not None
    rows = question.of(suite.rows)
    if suite.baseline_rows is None:
        return replace(asked, reason=f"no evidence: {suite.no_baseline or 'there is no baseline'}")
    if not suite.against_production:
        return replace(
            asked,
            reason=f"no evidence: it was held against {suite.baseline}, not against production",
        )
    found = comparing.paired(
        question.metric, rows, question.of(suite.baseline_rows),
        margin=margin, confidence=check.confidence, seed=seed,
    )  # fmt: skip
    asked = replace(asked, bound=found.bound, comparison=_told(found, suite.baseline))
    if found.n < validity.min_valid_rate * len(rows):
        return replace(
            asked,
            verdict=INVALID,
            reason=f"{found.n} of {len(rows)} items can be compared; at least "
            f"{validity.min_valid_rate:.0%} must be",
        )
    if found.delta is None:
        return replace(asked, reason="the difference is undefined for these answers")
    said = (
        f"{found.delta:+.3g} [{_number(found.low)}, {_number(found.high)}] against {suite.baseline}, "
        f"bound {_number(found.bound)}, limit {check.limit} "
        f"({len(found.lost)} items lost, {len(found.gained)} gained)"
    )
    if found.clusters < validity.min_clusters:
        return replace(asked, reason=f"{said}; {_few(found.clusters, validity)}")
    within = found.bound is not None and found.bound <= margin
    return replace(asked, verdict=PASS if within else INCONCLUSIVE, reason=said, p=found.p_worse)


def _adjusted(checks: Sequence[Checked]) -> list[Checked]:
    """With p-values that hold for all checks of a tier together: every group counts, also one without evidence."""
    done = list(checks)
    for tier in ("critical", "advisory"):
        of = [k for k, one in enumerate(checks) if one.check.tier == tier]
        for k, p in zip(of, families.holm([checks[k].p for k in of]), strict=True):
            done[k] = replace(checks[k], p_adjusted=p)
    return done


def _decided(one: Checked, alpha: float) -> Checked:
    if one.verdict != INVALID and one.p_adjusted < alpha:
        return replace(one, verdict=FAIL)
    if one.verdict == PASS and one.part:
        return replace(one, verdict=INCONCLUSIVE, reason=f"{one.reason}; {one.part}")
    if one.verdict == INCONCLUSIVE and one.estimate is not None:
        return replace(one, reason=f"{one.reason}; these items cannot tell")
    return one


def _told(found: Paired, baseline: str) -> dict[str, Any]:
    return {
        "baseline": baseline,
        "delta": found.delta,
        "low": found.low,
        "high": found.high,
        "margin": found.margin,
        "lost": len(found.lost),
        "gained": len(found.gained),
        "n": found.n,
        "clusters": found.clusters,
    }


def _shown(figure: Estimate) -> str:
    return f"{_number(figure.value)} [{_number(figure.low)}, {_number(figure.high)}]"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _few(clusters: int, validity: Validity) -> str:
    return f"{clusters} clusters are too few, {validity.min_clusters} are needed"
