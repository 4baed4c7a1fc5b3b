"""lm-eval's result files: samples_<task>.jsonl as rows, results_<time>.json as figures that are only reported.

Traps of the format: a scorer that failed may have written 0 for "not toxic" or "no bias"; choices that all have one log
likelihood come from a server that scores nothing. Source: lm_eval.loggers.EvaluationTracker, 0.4.13.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.audits.suites.own.imported.evidence import Evidence, binary, digest, mean, number, records
from core.audits.suites.records import Place
from core.errors import InvalidInput
from core.measures.rows import Row

SAMPLES, RESULTS = "lm-eval samples", "lm-eval results"
# Metrics of lm-eval of which 0 may stand for "could not be measured" (its tasks' own code).
_DOUBTFUL = {
    "perspective_api_toxicity_score": "lm-eval writes 0 when the Perspective API did not answer",
    "score": "toxicity tasks of lm-eval write 0 when their scorer did not answer",
    "amb_bias_score": "lm-eval writes 0 where no answer was biased, also for a model that is biased the other way",
    "disamb_bias_score": "lm-eval writes 0 where no answer was biased, also for a model that is biased the other way",
}


def samples(name: str, path: Path) -> Evidence:
    """Raises InvalidInput naming line and field."""
    rows, left_out, values = [], set(), defaultdict(list)
    for place, one in records(name, path):
        item, filtered, metrics = _fields(place, one)
        counts: dict[str, float] = {}
        readable = not _all_alike(one.get("resps"))
        for metric in metrics:
            value = number(one.get(metric))
            if value is None:
                left_out.add(metric)
            elif readable:
                key = f"imported.lm-eval.{metric}" + ("" if filtered == "none" else f",{filtered}")
                counts |= {f"n:{key}": 1.0, f"a:{key}": value}
                values[(metric, filtered, key)].append(value)
        rows.append(Row(f"{item}/{filtered}", item, bool(counts), counts, {"filter": filtered}))
    return Evidence(
        name, SAMPLES, digest(path), tuple(rows),
        tuple(
            mean(key, f"{metric} ({filtered})", "lm-eval's samples", ("filter", filtered), rate=binary(found))
            for (metric, filtered, key), found in sorted(values.items())
        ),
        notes=tuple(_notes({metric for metric, _, _ in values}, left_out, rows)),
        tool={"name": "lm-eval"},
    )  # fmt: skip


def _fields(place: Place, one: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    for field, kind in (("doc_id", int), ("metrics", list), ("filter", str)):
        if not isinstance(one.get(field), kind):
            raise place.wrong(
                field, "is not as lm-eval writes it; upload its samples_<task>_<time>.jsonl"
            )
    return str(one["doc_id"]), one["filter"], [str(metric) for metric in one["metrics"]]


def _all_alike(resps: Any) -> bool:
    """Several choices of which each has the same log likelihood."""
    try:
        told = [float(one[0][0]) for one in resps]
    except (TypeError, ValueError, IndexError, KeyError):
        return False
    return len(told) > 1 and len(set(told)) == 1


def _notes(kept: set[str], left_out: set[str], rows: list[Row]) -> Iterator[str]:
    for metric in sorted(left_out):
        yield f"{metric}: is no number of some or all documents, and is left out there, not taken for 0."
    for metric in sorted(kept & _DOUBTFUL.keys()):
        yield f"{metric}: {_DOUBTFUL[metric]}; a 0 here may be no measurement."
    if unread := sum(not row.valid for row in rows):
        yield f"{unread} documents have no score, or choices all equally likely (a server that scores nothing)."


def results(name: str, path: Path, whole: Mapping[str, Any]) -> Evidence:
    """Figures without their items: they are shown as reported and have no interval of ours."""
    reported = [
        {
            "metric": f"imported.lm-eval.{task}.{key.removesuffix(',none')}", "value": value,
            "stderr": number(figures.get(_error_of(key))),
        }
        for task, figures in sorted(whole["results"].items())
        for key, found in sorted(figures.items())
        if "," in key and "_stderr," not in key
        for value in [number(found)]
    ]  # fmt: skip
    undefined = [one["metric"] for one in reported if one["value"] is None]
    notes = [
        "Reported by lm-eval, whose standard errors take documents for independent; upload its samples for intervals."
    ]
    notes += [f"{metric}: undefined." for metric in undefined]
    return Evidence(
        name, RESULTS, digest(path), reported=tuple(reported), notes=tuple(notes),
        tool={"name": "lm-eval", "version": whole.get("lm_eval_version"), "target": whole.get("model_name")},
    )  # fmt: skip


def _error_of(key: str) -> str:
    metric, _, filtered = key.partition(",")
    return f"{metric}_stderr,{filtered}"


def whole(path: Path) -> dict[str, Any] | None:
    """The document, if this is a results file."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    fits = isinstance(found, dict) and isinstance(found.get("results"), dict)
    if fits and not all(isinstance(one, dict) for one in found["results"].values()):
        raise InvalidInput("imports: results is not as lm-eval writes it", param="imports")
    return found if fits else None
