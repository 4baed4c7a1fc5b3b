"""Results of other tools as evidence: counted by item, marked as imported, and nothing undefined becomes 0."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.audits.suites.own.imported.reading import evidence
from core.errors import InvalidInput

PROBE, DETECTOR = "lmrc.Profanity", "riskywords.SurgeProfanity"
NAME = f"imported.garak.{PROBE}.{DETECTOR}"


def attempt(
    number: int, scores: list[float | None], status: int = 2, detector: str = DETECTOR
) -> dict[str, Any]:
    return {
        "entry_type": "attempt", "uuid": f"u{number}", "seq": number, "status": status, "probe_classname": PROBE,
        "detector_results": {detector: scores} if detector else {}, "outputs": [],
    }  # fmt: skip


def written(folder: Path, name: str, lines: list[Any]) -> Path:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_garaks_nulls_are_no_passes_and_attempts_count_once(tmp_path: Path) -> None:
    lines = [
        {"entry_type": "start_run setup", "run.eval_threshold": 0.5, "plugins.target_name": "tiny"},
        {"entry_type": "init", "garak_version": "0.17.1"},
        {**attempt(1, []), "status": 1, "detector_results": {}},
        attempt(1, [1.0, 0.0, None]),
        attempt(2, [None, None]),
        attempt(3, [0.5]),
        attempt(4, [], detector=""),
        {"entry_type": "eval", "probe": PROBE, "detector": DETECTOR, "passed": 1, "fails": 2, "nones": 3,
         "total_evaluated": 5},
    ]  # fmt: skip
    found = evidence(written(tmp_path, "report.jsonl", lines), name="report")
    assert [(row.item, row.valid) for row in found.rows] == [
        (f"u1/{DETECTOR}", True), (f"u2/{DETECTOR}", False), (f"u3/{DETECTOR}", True),
    ]  # fmt: skip
    told = found.findings()
    assert (told["imported"], told["correction"], told["items"], told["valid"]) == (
        True,
        "uncorrected",
        3,
        2,
    )
    assert told["tool"] == {"name": "garak", "version": "0.17.1", "target": "tiny"}
    (figure,) = told["figures"]
    assert figure["metric"] == NAME
    assert figure["estimate"]["value"] == pytest.approx(2 / 3)
    said = " ".join(told["notes"])
    assert "Not asked through this platform" in said
    assert "1 attempts were scored by no detector" in said
    assert "2 attempts have outputs that could not be scored" in said
    assert "garak's own count is 5 outputs, the attempts here hold 3" in said


def test_a_detector_that_scored_nothing_has_no_figure(tmp_path: Path) -> None:
    found = evidence(written(tmp_path, "r.jsonl", [attempt(1, [None])]), name="report").findings()
    assert found["figures"][0]["estimate"]["value"] is None


def sample(doc: int, **fields: Any) -> dict[str, Any]:
    resps = [[["-1.0", "True"]], [["-2.0", "False"]]]
    return {
        "doc_id": doc,
        "filter": "none",
        "metrics": ["acc"],
        "resps": resps,
        "acc": 1.0,
    } | fields


def test_lm_evals_samples_become_rows(tmp_path: Path) -> None:
    alike = [[["0.0", "True"]], [["0.0", "True"]]]
    lines = [
        sample(0), sample(1, acc=0.0), sample(2, resps=alike), sample(3, acc=None),
        sample(4, metrics=["acc", "word_perplexity", "amb_bias_score"], word_perplexity=[-3.0, 2], amb_bias_score=0),
    ]  # fmt: skip
    found = evidence(written(tmp_path, "samples_x.jsonl", lines), name="samples")
    told = found.findings()
    assert (told["kind"], told["items"], told["valid"]) == ("lm-eval samples", 5, 3)
    figures = {one["metric"]: one["estimate"] for one in told["figures"]}
    assert figures["imported.lm-eval.acc"]["value"] == pytest.approx(2 / 3)
    assert "imported.lm-eval.word_perplexity" not in figures
    said = " ".join(told["notes"])
    assert "acc: is no number of some or all documents" in said
    assert "amb_bias_score: lm-eval writes 0" in said
    assert "2 documents have no score" in said


def test_lm_evals_results_are_only_reported(tmp_path: Path) -> None:
    path = tmp_path / "results_x.json"
    whole = {"results": {"t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": 0.1, "f1,none": "N/A"}},
             "lm_eval_version": "0.4.13"}  # fmt: skip
    path.write_text(json.dumps(whole, indent=1))
    told = evidence(path, name="results").findings()
    assert told["figures"] == []
    assert told["reported"] == [
        {"metric": "imported.lm-eval.t.acc", "value": 0.5, "stderr": 0.1},
        {"metric": "imported.lm-eval.t.f1", "value": None, "stderr": None},
    ]
    assert "imported.lm-eval.t.f1: undefined." in told["notes"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([{"a": 1}], "none of lm-eval's"),
        ([sample(0), {**sample(1), "metrics": 7}], "line 2: field 'metrics'"),
        ([attempt(1, []), {"entry_type": "attempt"}], "line 2: field 'uuid'"),
        ([sample(0), [1]], "line 2: is no JSON object"),
    ],
)
def test_what_is_none_of_these_is_told(tmp_path: Path, lines: list[Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        evidence(written(tmp_path, "x.jsonl", lines), name="x")
    assert says in refused.value.message
