"""What an audit will be able to see, told before it is run: a limit that so many items cannot decide is no surprise."""

from collections.abc import Sequence
from typing import Any

from core.audits import sizes
from core.audits.asking import Item
from core.audits.chosen import Asked
from core.audits.shapes import plain
from core.gate import matching
from core.gate.policies import EVERY, Check, Policy
from core.measures import planning
from core.measures.metric import Metric
from core.measures.rows import Row


def planned(
    asked: Sequence[Asked], policy: Policy | None, *, confidence: float, paired: bool
) -> dict[str, Any]:
    """{"items", "tokens", "suites": [...], "checks": [...]}; `paired`: there is a baseline to hold it against.

    `detectable`: the smallest distance from the limit that is seen with a power of 0.8. `can_decide`: a model without
    any fault would pass. Both before anything is known of this model: by the size, the clusters and what is usual.
    """
    made: dict[str, Any] = plain(
        {
            "items": sum(len(one.items) for one in asked),
            "tokens": sum(sizes.tokens(item.ask) for one in asked for item in one.items),
            "suites": [_suite(one, confidence) for one in asked],
            "checks": [
                told
                for check in (policy.checks if policy else ())
                for told in _check(check, asked, paired)
            ],
        }
    )
    return made


def _suite(one: Asked, confidence: float) -> dict[str, Any]:
    return {
        "suite": one.suite.name,
        "version": one.suite.version,
        "items": len(one.items),
        "clusters": one.clusters,
        "figures": [
            {
                "metric": metric.name,
                "n": n,
                "clusters": clusters,
                "detectable": planning.detectable(metric, n, clusters, confidence=confidence),
            }
            for metric in one.suite.metrics
            for n, clusters in [_size(metric, one.items, {})]
        ],
    }


def _check(check: Check, asked: Sequence[Asked], paired: bool) -> list[dict[str, Any]]:
    found = [(one, m) for one in asked for m in one.suite.metrics if _fits(check, one, m)]
    told = {"id": check.id, "metric": check.metric, "tier": check.tier, "limit": check.limit.data()}
    if not found:
        nothing = {"n": 0, "clusters": 0, "detectable": None, "can_decide": False}
        reason = "no evidence: its suite is not part of this audit"
        return [told | {"group": check.group} | nothing | {"reason": reason}]
    one, metric = found[0]
    part = matching.part(check, one.suite.name, one.wished, len(one.items))
    cannot = {"can_decide": False, "reason": part} if part else {}
    return [
        told
        | {"group": group}
        | _decides(check, metric, *_size(metric, one.items, group), paired)
        | cannot
        for group in _groups(check, one, metric)
    ]


def _fits(check: Check, one: Asked, metric: Metric) -> bool:
    return metric.name == check.metric and check.suite in ("", one.suite.name)


def _groups(check: Check, one: Asked, metric: Metric) -> list[dict[str, str]]:
    """The check's group, or one for each value of the dimension that it says "*" of, as they will be judged."""
    every = next((dimension for dimension, value in check.group.items() if value == EVERY), None)
    if every is None:
        return [dict(check.group)]
    asked = {item.groups.get(every, matching.NONE) for item in one.items if _takes(metric, item)}
    values = sorted(asked | set(one.groups.get(every, ())))
    return [{**check.group, every: value} for value in values]


def _takes(metric: Metric, item: Item) -> bool:
    return metric.takes(Row(item.id, item.cluster, True, groups=item.groups))


def _size(metric: Metric, items: Sequence[Item], group: dict[str, str]) -> tuple[int, int]:
    """How many items a figure rests on, in how many clusters."""
    taken = [
        item
        for item in items
        if all(item.groups.get(name, matching.NONE) == value for name, value in group.items())
        and _takes(metric, item)
    ]
    return len(taken), len({item.cluster for item in taken})


def _decides(check: Check, metric: Metric, n: int, clusters: int, paired: bool) -> dict[str, Any]:
    limit = check.limit.limit
    if limit is None:
        reach = planning.paired_detectable(n, clusters, confidence=check.confidence)
        margin = check.limit.noninferior or 0.0
        can = paired and reach is not None and reach <= margin
        reason = "" if paired else "there is no baseline to hold it against"
        if paired and not can:
            reason = f"{n} items in {clusters} clusters see no less than {reach or 0:.3g} of a margin of {margin:g}"
    else:
        reach = planning.detectable(metric, n, clusters, limit=limit, confidence=check.confidence)
        can = planning.can_decide(metric, limit, n, clusters, confidence=check.confidence)
        reason = "" if can else f"{n} items in {clusters} clusters are too few for this limit"
    return {
        "n": n, "clusters": clusters, "detectable": reach, "can_decide": can, "reason": reason,
    }  # fmt: skip
