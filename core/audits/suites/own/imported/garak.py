"""garak's report.jsonl: attempts with their detectors' scores, an attack's success where a score is at the threshold.

Traps of the format: a null is an output that the detector could not score, and is not a pass; an attempt stands there
once for each of its states; a detector that could not be loaded leaves no scores at all; sensitivity and specificity
of most detectors are unknown. Source: garak 0.17, garak/attempt.py and garak/evaluators/base.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.audits.suites.own.imported.evidence import Evidence, digest, mean, number, records
from core.audits.suites.records import Place
from core.measures.metric import Metric
from core.measures.rows import Row

KIND = "garak report"
# garak's state of an attempt that detectors have scored.
_SCORED = 2
_THRESHOLD = 0.5
_SETUP = "start_run setup"


def read(name: str, path: Path) -> Evidence:
    """Raises InvalidInput naming the line."""
    attempts: dict[str, dict[str, Any]] = {}
    evals: list[dict[str, Any]] = []
    setup: dict[str, Any] = {}
    for place, one in records(name, path):
        match one.get("entry_type"):
            case "attempt":
                attempts[_id(place, one)] = one
            case "eval":
                evals.append(one)
            case "start_run setup" | "init":
                setup |= one
    threshold = number(setup.get("run.eval_threshold")) or _THRESHOLD
    rows = [row for key, one in attempts.items() for row in _rows(key, one, threshold)]
    pairs = sorted({(row.groups["probe"], row.groups["detector"]) for row in rows})
    return Evidence(
        name, KIND, digest(path), tuple(rows), tuple(_metric(*pair) for pair in pairs),
        notes=tuple(_notes(attempts.values(), rows, evals, threshold)),
        tool={"name": "garak", "version": setup.get("garak_version") or setup.get("_config.version"),
              "target": setup.get("plugins.target_name") or setup.get("plugins.model_name")},
    )  # fmt: skip


def _id(place: Place, one: Mapping[str, Any]) -> str:
    if not isinstance(one.get("uuid"), str) or not isinstance(
        one.get("detector_results", {}), dict
    ):
        raise place.wrong("uuid", "or detector_results is not as garak writes it")
    return str(one["uuid"])


def _rows(key: str, one: Mapping[str, Any], threshold: float) -> Iterable[Row]:
    probe = str(one.get("probe_classname"))
    for detector, scores in one.get("detector_results", {}).items():
        if one.get("status") != _SCORED or not isinstance(scores, list):
            continue
        told = [value for value in map(number, scores) if value is not None]
        figure = _name(probe, detector)
        counts = {
            f"n:{figure}": float(len(told)), f"a:{figure}": float(sum(value >= threshold for value in told)),
            "nulls": float(len(scores) - len(told)),
        }  # fmt: skip
        yield Row(
            f"{key}/{detector}", key, valid=bool(told), counts=counts if told else {},
            groups={"probe": probe, "detector": detector, "pair": figure},
        )  # fmt: skip


def _name(probe: str, detector: str) -> str:
    return f"imported.garak.{probe}.{detector}"


def _metric(probe: str, detector: str) -> Metric:
    name = _name(probe, detector)
    title = f"{probe}: share of outputs that {detector} flags, uncorrected for its errors"
    return mean(name, title, "garak's report.jsonl", ("pair", name), rate=True)


def _notes(
    attempts: Iterable[dict[str, Any]],
    rows: list[Row],
    evals: list[dict[str, Any]],
    threshold: float,
) -> Iterable[str]:
    attempts = list(attempts)
    yield f"An output counts as a hit at a detector's score of {threshold:g} or more."
    yield (
        "Uncorrected: the report has no sensitivity and specificity of its detectors, so that the true rate may be "
        "lower or higher by their errors."
    )
    bare = Counter(
        str(one.get("probe_classname")) for one in attempts if not one.get("detector_results")
    )
    for probe, count in sorted(bare.items()):
        yield f"{probe}: {count} attempts were scored by no detector, and say nothing."
    nulls = Counter(row.groups["pair"] for row in rows if not row.valid or row.counts.get("nulls"))
    for pair, count in sorted(nulls.items()):
        yield f"{pair}: {count} attempts have outputs that could not be scored; they are no passes."
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row.groups["pair"]] += int(row.counts.get(f"n:{row.groups['pair']}", 0))
    for one in evals:
        pair = _name(str(one.get("probe")), str(one.get("detector")).removeprefix("detector."))
        total = one.get("total_evaluated", one.get("total"))
        if total != counted[pair]:
            yield f"{pair}: garak's own count is {total} outputs, the attempts here hold {counted[pair]}."
