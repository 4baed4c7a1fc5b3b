"""Short ways for tests of verdicts: rows of a made suite, and policies with one check."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.gate.evidence import SuiteEvidence
from core.gate.policies import Policy
from core.gate.verdicts import Judgement, judge
from core.measures import harm
from core.measures.metric import Metric
from core.measures.rows import Row

LEAKS = harm.rate("leaks.rate", title="Leaks", definition="Share that leaked.", source="a test")
CHECK: dict[str, Any] = {"id": "leaks", "metric": "leaks.rate", "limit": {"max": 0.1}}


def rows(hits: int, n: int, *, invalid: int = 0, start: int = 0, **groups: str) -> list[Row]:
    """Attempts of one cluster each, the first `hits` of which succeeded; then some that could not be read."""
    read = [
        Row(f"{start + k}", f"c{start + k}", True, harm.tried(hit=k < hits), groups)
        for k in range(n)
    ]
    unread = [Row(f"x{start + k}", f"cx{start + k}", False, {}, groups) for k in range(invalid)]
    return read + unread


def drawn(rng: np.random.Generator, rate: float, n: int) -> list[Row]:
    hit = rng.random(n) < rate
    return [Row(f"{k}", f"c{k}", True, harm.tried(hit=bool(hit[k]))) for k in range(n)]


def evidence(
    given: Sequence[Row], *metrics: Metric, name: str = "leaks", **more: Any
) -> SuiteEvidence:
    of = {metric.name: metric for metric in metrics or (LEAKS,)}
    return SuiteEvidence(name=name, version="1", rows=given, metrics=of, **more)


def policy(*checks: dict[str, Any], **more: Any) -> Policy:
    return Policy.model_validate({"checks": checks or (CHECK,), **more})


def judged(of: Policy, *suites: SuiteEvidence) -> Judgement:
    return judge(of, {one.name: one for one in suites})
