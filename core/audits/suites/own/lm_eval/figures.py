"""lm-eval's metrics made of the sums that folding.py counts."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from core.measures.metric import Array, Metric, Totals, ratio


def of(task: dict[str, Any]) -> Iterator[Metric]:
    """Those of a task that are functions of sums, named lm-eval.<task>.<metric>[,<filter>]."""
    for one in task["metrics"]:
        if one["fold"] is None:
            continue
        name, place = f"lm-eval.{task['name']}.{one['key']}", f"{one['key']}@{task['name']}"
        a, n = f"a:{place}", f"n:{place}"
        rising = one["higher_is_better"]
        yield Metric(
            name=name,
            title=f"{task['name']}: {one['key']}",
            definition=f"lm-eval's {one['metric']} (task version {task['version']}), {_FOLDS[one['fold']][1]}.",
            source="lm-eval 0.4.13: the task's own process_results and aggregation",
            value=_value(_FOLDS[one["fold"]][0], place),
            better="neutral" if rising is None else "higher" if rising else "lower",
            share=(a, n) if one["share"] else None,
            low=0.0 if one["share"] else None,
            high=1.0 if one["share"] else None,
            where=("task", task["name"]),
        )


def _value(fold: Callable[[Totals, str], Array], place: str) -> Callable[[Totals], Array]:
    return lambda totals: fold(totals, place)


def _mean(totals: Totals, place: str) -> Array:
    return ratio(totals[f"a:{place}"], totals[f"n:{place}"])


def _weighted(totals: Totals, place: str) -> Array:
    return ratio(totals[f"a:{place}"], totals[f"b:{place}"])


def _f1(totals: Totals, place: str) -> Array:
    hits = 2 * totals[f"tp:{place}"]
    return ratio(hits, hits + totals[f"fp:{place}"] + totals[f"fn:{place}"])


def _matthews(totals: Totals, place: str) -> Array:
    tp, tn, fp, fn = (totals[f"{cell}:{place}"] for cell in ("tp", "tn", "fp", "fn"))
    under = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return ratio(tp * tn - fp * fn, np.sqrt(under))


_FOLDS: dict[str, tuple[Callable[[Totals, str], Array], str]] = {
    "mean": (_mean, "mean over documents"),
    "perplexity": (lambda t, k: np.exp(-_mean(t, k)), "exp of minus the mean log likelihood"),
    "weighted_perplexity": (lambda t, k: np.exp(-_weighted(t, k)), "exp of minus log likelihood over weight"),
    "bits_per_byte": (lambda t, k: -_weighted(t, k) / math.log(2), "minus log2 likelihood over bytes"),
    "f1": (_f1, "F1 of class 1 over all documents"),
    "matthews": (_matthews, "Matthews' correlation of two classes over all documents"),
}  # fmt: skip


def hidden(tasks: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What is not shown, as a sentence; nothing where all is."""
    names = sorted(
        {
            f"{task['name']} {one['key']}"
            for task in tasks
            for one in task["metrics"]
            if not one["fold"]
        }
    )
    return (f"Not shown, as no sums over documents: {', '.join(names)}.",) if names else ()
