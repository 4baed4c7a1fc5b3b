"""A model against its baseline on the same items: how much worse, whether that is within a margin, what flipped."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InvalidInput
from core.measures import effects, intervals
from core.measures.combined import Nearer
from core.measures.laws import Law
from core.measures.matched import Tango, mcnemar
from core.measures.metric import Array, Metric, Totals
from core.measures.rows import Row
from core.measures.sums import gathered, part

# On one side and the other of a difference, in the names of joined counts.
_NEW, _OLD = "new:", "old:"


@dataclass(frozen=True, slots=True)
class Paired:
    """`delta`: the figure minus the baseline's (for a metric that is good near `neutral`: the change of the distance
    from it), with its two-sided interval. `bound`: the most by which it may be worse, one-sided at `confidence`.

    `p_within`: of the hypothesis that it is worse by `margin` or more (small: not inferior); `p_worse`: of the
    hypothesis that it is worse by at most `margin` (small: inferior); `p_any`: of no difference, two-sided. `lost`,
    `gained`: items that only the baseline, and only this model, gets right (empty but for shares); for a share
    that is good near its neutral value, `lost` are those that became hits.
    """

    delta: float | None
    low: float | None
    high: float | None
    bound: float | None
    margin: float
    confidence: float
    n: int
    clusters: int
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    p_worse: float
    p_within: float
    p_any: float
    method: str


def paired(
    metric: Metric,
    rows: Sequence[Row],
    baseline_rows: Sequence[Row],
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Of items that both could be read for; `margin`: 0 or more, in the metric's unit."""
    if not (math.isfinite(margin) and margin >= 0):
        raise InvalidInput("margin: how much worse is still allowed, 0 or more")
    old = {row.item: row for row in baseline_rows if row.valid and metric.takes(row)}
    new = [row for row in rows if row.valid and metric.takes(row) and row.item in old]
    lost, gained = _flips(metric, new, old)
    pairs = [_both(row, old[row.item]) for row in new]
    value, law, clusters = _known(metric, old, pairs, seed)
    exact = _matched(metric, new, old) if law is not None else None
    law = exact or law
    p_any = _p_any(law, exact)
    sign = -1.0 if metric.better == "higher" else 1.0
    alpha = (1 - confidence) / 2
    ends = sorted((sign * law.lower(alpha), sign * law.upper(alpha))) if law else [math.nan] * 2
    return Paired(
        delta=_finite(sign * value),
        low=_finite(ends[0]),
        high=_finite(ends[1]),
        bound=_finite(law.upper(2 * alpha)) if law else None,
        margin=margin,
        confidence=confidence,
        n=len(new),
        clusters=clusters,
        lost=lost,
        gained=gained,
        p_worse=law.p_above(margin) if law else 1.0,
        p_within=law.p_below(margin) if law else 1.0,
        p_any=p_any,
        method=law.method if law else "undefined",
    )


def _known(
    metric: Metric, old: Mapping[str, Row], pairs: Sequence[Row], seed: int
) -> tuple[float, Law | None, int]:
    """How much worse, what is known of it, and the clusters that say so."""
    if metric.better != "neutral":
        sign = -1.0 if metric.better == "higher" else 1.0
        joined = _joined(metric, old, lambda ours, theirs: sign * (ours - theirs))
        sums = gathered(joined, pairs)
        what = intervals.known(joined, sums, seed=seed)
        return what.value, what.law, sums.clusters
    at = metric.neutral or 0.0
    apart = _joined(metric, old, lambda ours, theirs: ours - theirs)
    total = _joined(metric, old, lambda ours, theirs: (ours - at) + (theirs - at))
    sums = gathered(apart, pairs)
    difference, together = (intervals.known(one, sums, seed=seed) for one in (apart, total))
    if difference.law is None or together.law is None:
        return math.nan, None, sums.clusters
    ours = (difference.value + together.value) / 2
    theirs = (together.value - difference.value) / 2
    return abs(ours) - abs(theirs), Nearer(difference.law, together.law), sums.clusters


def _joined(
    metric: Metric, old: Mapping[str, Row], combine: Callable[[Array, Array], Array]
) -> Metric:
    """A metric of rows that hold the counts of both."""

    def value(totals: Totals) -> Array:
        return combine(metric.value(part(totals, _NEW)), metric.value(part(totals, _OLD)))

    def columns(rows: Sequence[Row]) -> Mapping[str, float]:
        assert metric.columns is not None
        ours = metric.columns([_plain(row) for row in rows])
        theirs = metric.columns([old[row.item] for row in rows])
        return {f"{_NEW}{name}": total for name, total in ours.items()} | {
            f"{_OLD}{name}": total for name, total in theirs.items()
        }

    room = None if metric.low is None or metric.high is None else 2 * (metric.high - metric.low)
    if room is not None and metric.better != "neutral":
        room /= 2
    return Metric(
        name=metric.name, title=metric.title, definition=metric.definition, source=metric.source,
        value=value, better="lower", columns=columns if metric.columns else None,
        low=None if room is None else -room, high=room, neutral=0.0, unit=metric.unit,
    )  # fmt: skip


def _both(row: Row, old: Row) -> Row:
    counts = {f"{_NEW}{name}": count for name, count in row.counts.items()}
    counts |= {f"{_OLD}{name}": count for name, count in old.counts.items()}
    return Row(row.item, row.cluster, True, counts, row.groups, row.pair)


def _plain(row: Row) -> Row:
    counts = {
        name.removeprefix(_NEW): count
        for name, count in row.counts.items()
        if name.startswith(_NEW)
    }
    return Row(row.item, row.cluster, True, counts, row.groups, row.pair)


def _flips(
    metric: Metric, new: Sequence[Row], old: Mapping[str, Row]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if metric.share is None:
        return (), ()
    hits = metric.share[0]
    changed = [
        (row.item, row.counts.get(hits, 0) - old[row.item].counts.get(hits, 0)) for row in new
    ]
    more = tuple(item for item, change in changed if change > 0)
    fewer = tuple(item for item, change in changed if change < 0)
    return (fewer, more) if metric.better == "higher" else (more, fewer)


def _matched(metric: Metric, new: Sequence[Row], old: Mapping[str, Row]) -> Tango | None:
    """For a share of items that each are one yes or no in both: on the sample's effective size."""
    if metric.share is None or metric.better == "neutral":
        return None
    hits, trials = metric.share
    asked = [row for row in new if row.counts.get(trials, 0) or old[row.item].counts.get(trials, 0)]
    pairs = [(row.counts, old[row.item].counts) for row in asked]
    if not pairs or any(
        one.get(trials, 0) != 1 or one.get(hits, 0) not in (0, 1) for pair in pairs for one in pair
    ):
        return None
    change = np.array([ours.get(hits, 0) - theirs.get(hits, 0) for ours, theirs in pairs], float)
    if metric.better == "higher":
        change = -change
    clusters = np.unique([row.cluster for row in asked], return_inverse=True)[1]
    sizes = np.bincount(clusters).astype(np.float64)
    sums = np.bincount(clusters, weights=change).astype(np.float64)
    differing = float((change != 0).sum())
    worth = effects.of_mean(sums, sizes, variance=float(change.var()), rare=differing)
    scale = worth.trials / len(change)
    return Tango(
        float((change > 0).sum()) * scale,
        float((change < 0).sum()) * scale,
        worth.trials,
        "paired score (Tango)" if scale == 1 else "paired score (Tango) on the effective sample",
    )


def _p_any(law: Law | None, exact: Tango | None) -> float:
    if law is None:
        return 1.0
    if exact is not None and exact.method.endswith("(Tango)"):
        return mcnemar(exact.more, exact.fewer)
    return min(1.0, 2 * min(law.p_above(0.0), law.p_below(0.0)))


def _finite(value: float) -> float | None:
    return value + 0.0 if math.isfinite(value) else None
