"""lm-eval's metrics as sums over documents, where they are that: from sums come intervals by clusters.

A value of a document becomes counts named n:<metric>, a:<metric> and so on; how they make the figure is `fold`.
"""

from typing import Any

from lm_eval.api import registry

# Names of lm-eval's aggregations that are functions of sums, by how those are made here.
_FOLDS = {
    "mean": "mean",
    "perplexity": "perplexity",
    "weighted_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
    "brier_score": "mean",
    "f1": "f1",
    "matthews_corrcoef": "matthews",
}
# Of a plain task each is right or wrong, so that exact bounds exist.
_SHARES = frozenset(("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"))


def key(metric: str, filtered: str) -> str:
    return metric if filtered == "none" else f"{metric},{filtered}"


def metrics(task: Any, plain: bool) -> list[dict[str, Any]]:
    """Each metric of each filter; `fold` null: no function of sums, and so not shown."""
    better = task.higher_is_better()
    return [
        {
            "key": key(metric, ensemble.name),
            "metric": metric,
            "filter": ensemble.name,
            "fold": _fold(aggregation),
            "higher_is_better": better.get(metric),
            "share": plain and metric in _SHARES,
        }
        for ensemble in task._filters  # noqa: SLF001 - its names are told by nothing else
        for metric, aggregation in task.aggregation().items()
    ]


def counted(task: Any, metric: str, filtered: str, value: Any) -> dict[str, float]:
    """The counts of one document's value; none where the figure is no function of sums."""
    aggregation = task.aggregation().get(metric)
    name, how = key(metric, filtered), _fold(aggregation)
    if how is None:
        return {}
    if aggregation is registry.AGGREGATION_REGISTRY["brier_score"]:
        gold, shares = value
        value = sum((float(share) - (k == gold)) ** 2 for k, share in enumerate(shares))
    if how in ("mean", "perplexity"):
        return {f"n:{name}": 1.0, f"a:{name}": float(value)}
    first, second = value
    if how in ("f1", "matthews"):
        # Of two classes, 1 being the one that is looked for, as scikit-learn's default has it.
        if {first, second} - {0, 1}:
            return {}
        true, said = int(first) == 1, int(second) == 1
        cell = f"{'t' if true is said else 'f'}{'p' if said else 'n'}"
        return {f"n:{name}": 1.0, f"{cell}:{name}": 1.0}
    return {f"n:{name}": 1.0, f"a:{name}": float(first), f"b:{name}": float(second)}


def _fold(aggregation: Any) -> str | None:
    for name, how in _FOLDS.items():
        if aggregation is registry.AGGREGATION_REGISTRY.get(name):
            return how
    return None
