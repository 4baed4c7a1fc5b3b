"""Exports open in the tools that they are written for: Inspect's reader and viewer, lm-eval's loader and tables."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.audits.exports.archive import Format, write
from core.audits.exports.exported import Answered, Exported
from core.audits.shapes import answer_as, row_as
from core.audits.suites.quality.accuracy import ACCURACY, AccuracyOptions
from core.measures.intervals import estimate
from tests.rig import ROOT

ID = "job_01kaq0v9ej6xk0m3c8s5t1w2yz"


def answers() -> tuple[list[Answered], dict[str, Any]]:
    """The own pack answered by a coin, the third item not at all; and what was found."""
    options = AccuracyOptions()
    items = list(ACCURACY.items({}, options))[:20]
    coin = next(one for one in ACCURACY.controls(items) if one.name == "coin")
    silent = next(one for one in ACCURACY.controls(items) if one.name == "silent")
    said = [(silent if n == 2 else coin).answer(item) for n, item in enumerate(items)]
    rows = [ACCURACY.score(item, one) for item, one in zip(items, said, strict=True)]
    took = {"prompt_tokens": 7, "completion_tokens": 0}
    told = [
        Answered(item.id, n, f"Question {n}", answer_as(one), row_as(row), took)
        for n, (item, one, row) in enumerate(zip(items, said, rows, strict=True))
    ]
    figures: list[dict[str, Any]] = [
        {"metric": metric.name, "group": {}, "estimate": vars_of(estimate(metric, rows))}
        for metric in ACCURACY.metrics
    ]
    nothing = {**figures[0]["estimate"], "value": None, "low": None, "high": None}
    figures.append(
        {"metric": "accuracy.exact", "group": {"category": "order"}, "estimate": nothing}
    )
    found = {
        "suite": "accuracy", "items": 20, "valid": 19, "clusters": 9, "figures": figures,
        "controls": [{"name": "coin", "passed": True, "misses": []}],
    }  # fmt: skip
    return told, found


def vars_of(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in type(one).__slots__}


@pytest.fixture(scope="module")
def audit() -> Exported:
    _, found = answers()
    asked = {
        "name": "accuracy",
        "version": "1",
        "files": {},
        "options": {"mode": "auto"},
        "items": 20,
    }
    findings = {
        "verdict": "INCONCLUSIVE", "suites": [found], "checks": [], "settings": {"seed": 0},
        "metrics": {"accuracy.exact": {"title": "Right answers", "better": "higher", "definition": "..."}},
    }  # fmt: skip
    when = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)
    return Exported(
        id=ID, model="ft:rill:a/b", weights="w" * 64, adapter="", dataset="", policy="default@1",
        suites=[asked], findings=findings, created=when, published=when, penstock="0.1.0",
    )  # fmt: skip


async def pages(suite: str) -> AsyncIterator[Sequence[Answered]]:
    assert suite == "accuracy"
    told, _ = answers()
    yield told[:7]
    yield told[7:]


async def unpacked(audit: Exported, format_: Format, folder: Path) -> list[Path]:
    out = io.BytesIO()
    await write(out, audit, format_, pages)
    with zipfile.ZipFile(out) as archive:
        archive.extractall(folder)
        return sorted(folder / name for name in archive.namelist())


def ran(*words: str) -> str:
    """A program of the tool's own, offline."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words], check=False, cwd=ROOT, capture_output=True, text=True,
        timeout=200, env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done.stdout


INSPECT = """
import json, sys
from inspect_ai.log import read_eval_log, write_eval_log, list_eval_logs
log = read_eval_log(sys.argv[1])
write_eval_log(log, sys.argv[2])
again = read_eval_log(sys.argv[2])
score = again.results.scores[0]
print(json.dumps({
    "status": again.status, "task": again.eval.task, "model": again.eval.model, "version": again.version,
    "metadata": again.eval.metadata, "metrics": {n: m.value for n, m in score.metrics.items()},
    "scored": score.scored_samples, "unscored": score.unscored_samples, "undefined": score.metadata["undefined"],
    "samples": [{"id": s.id, "input": s.input, "stop": s.output.stop_reason, "metadata": s.metadata,
                 "scores": {n: one.model_dump(mode="json") for n, one in s.scores.items()}} for s in again.samples],
    "listed": len(list_eval_logs(sys.argv[3])),
}))
"""


async def test_inspect_reads_a_log_and_writes_it_as_its_own(
    audit: Exported, tmp_path: Path
) -> None:
    (path,) = await unpacked(audit, "inspect", tmp_path / "logs")
    seen = json.loads(ran("-c", INSPECT, str(path), str(tmp_path / "own.eval"), str(path.parent)))
    assert (seen["status"], seen["task"], seen["model"], seen["version"]) == (
        "success", "accuracy", "penstock/ft:rill:a/b", 2,
    )  # fmt: skip
    assert seen["listed"] == 1
    assert seen["metadata"]["weights"] == "w" * 64
    figure = audit.findings["suites"][0]["figures"][0]["estimate"]
    assert seen["metrics"]["accuracy.exact"] == figure["value"]
    assert seen["metrics"]["accuracy.exact_ci_low"] == figure["low"]
    assert seen["metrics"]["accuracy.exact_ci_high"] == figure["high"]
    # What is undefined is named, not 0; what could not be read is unscored, not wrong.
    assert seen["undefined"] == ["accuracy.exact[category=order]"]
    assert not any("[category=order]" in name for name in seen["metrics"])
    assert (seen["scored"], seen["unscored"]) == (19, 1)
    told, _ = answers()
    samples = {one["id"]: one for one in seen["samples"]}
    assert len(samples) == len(told)
    for wanted in told:
        one = samples[wanted.item]
        assert one["input"] == wanted.prompt
        assert one["metadata"]["cluster"] == wanted.row["cluster"]
        if wanted.row["valid"]:
            score = one["scores"]["accuracy"]
            assert score["value"] == wanted.row["counts"]["correct"]
            assert score["metadata"]["counts"] == wanted.row["counts"]
        else:
            assert one["scores"] == {}


async def test_inspects_viewer_bundles_the_logs_for_a_browser(
    audit: Exported, tmp_path: Path
) -> None:
    await unpacked(audit, "inspect", tmp_path / "logs")
    ran("-m", "inspect_ai._cli.main", "view", "bundle", "--log-dir", str(tmp_path / "logs"),
        "--output-dir", str(tmp_path / "page"))  # fmt: skip
    assert (tmp_path / "page" / "index.html").exists()
    assert list((tmp_path / "page" / "logs").glob("*accuracy*.json"))


LM_EVAL = """
import json, sys
from pathlib import Path
import datasets
from lm_eval import utils
names = [str(one) for one in Path(sys.argv[1]).iterdir()]
(results,), (samples,) = utils.get_results_filenames(names), utils.get_sample_results_filenames(names)
found = json.loads(Path(results).read_text())
table = utils.make_table(found)
rows = datasets.load_dataset("json", data_files=samples, split="train", cache_dir=sys.argv[2])
print(json.dumps({
    "results": found, "table": table, "task": utils.get_file_task_name(Path(samples).name),
    "same": utils.get_file_datetime(Path(samples).name) == utils.get_file_datetime(Path(results).name.replace(".json", ".jsonl")),
    "rows": rows.to_list(),
}, default=str))
"""  # noqa: E501 - a program as it is run


async def test_lm_eval_loads_the_results_and_samples_and_makes_its_table(
    audit: Exported, tmp_path: Path
) -> None:
    files = await unpacked(audit, "lm-eval", tmp_path / "results")
    assert len(files) == 2
    seen = json.loads(ran("-c", LM_EVAL, str(tmp_path / "results"), str(tmp_path / "cache")))
    assert seen["task"] == "accuracy"
    assert seen["same"]
    figure = audit.findings["suites"][0]["figures"][0]["estimate"]
    shown = seen["results"]["results"]["accuracy"]
    assert shown["accuracy.exact,none"] == figure["value"]
    assert shown["accuracy.exact_ci_low,none"] == figure["low"]
    assert f"{figure['value']:.4f}" in seen["table"]
    assert seen["results"]["model_name_sanitized"] == "ft__rill__a__b"
    assert len(seen["results"]["task_hashes"]["accuracy"]) == 64
    told, _ = answers()
    assert [row["doc_id"] for row in seen["rows"]] == [one.number for one in told]
    assert [row["correct"] for row in seen["rows"]] == [
        one.row["counts"].get("correct") for one in told
    ]
