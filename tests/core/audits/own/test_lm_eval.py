"""lm-eval's tasks as suites: figures are those of lm-eval itself, and an uploaded task reaches nothing of this host."""

import asyncio
import json
import math
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.audits.asking import Answer, Item, Likelihood, Rolling, Score, Write
from core.audits.suite import Suite
from core.audits.suites.own.lm_eval.process import LmEval
from core.audits.suites.own.lm_eval.suite import LM_EVAL, LmEvalOptions
from core.errors import InvalidInput, Refused
from core.measures.sums import gathered
from tests.core.audits.own import twin
from tests.rig import ROOT
from tests.waiting import until

TASKS = {
    "choosing": """
        output_type: multiple_choice
        doc_to_text: "{{q}}"
        doc_to_choice: "{{choices}}"
        doc_to_target: "{{a}}"
        metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}, {metric: acc_mutual_info},
                      {metric: brier_score}]
    """,
    "yes_or_no": """
        output_type: multiple_choice
        doc_to_text: "Is it so: {{q}}"
        doc_to_choice: ["no", "yes"]
        doc_to_target: "{{a % 2}}"
        metric_list: [{metric: acc}, {metric: f1}, {metric: mcc}]
    """,
    "two_contexts": """
        output_type: multiple_choice
        doc_to_text: "{{a % 2}}"
        doc_to_choice: "{{[q ~ ' left', q ~ ' right']}}"
        doc_to_target: "and so on"
        metric_list: [{metric: acc}]
    """,
    "last_word": """
        output_type: loglikelihood
        doc_to_text: "{{q}}"
        doc_to_target: " {{choices[0]}}"
        metric_list: [{metric: perplexity}, {metric: acc}]
    """,
    "texts": """
        output_type: loglikelihood_rolling
        doc_to_text: ""
        doc_to_target: "{{q}} Déjà vu {{a}}."
        metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
    """,
    "sums": r"""
        output_type: generate_until
        doc_to_text: "Question: {{q}}\nAnswer:"
        doc_to_target: "{{n}}"
        num_fewshot: 2
        fewshot_split: train
        training_split: train
        repeats: 3
        generation_kwargs: {until: ["\n\n", "Question:"], do_sample: true, temperature: 0.7}
        metric_list: [{metric: exact_match, ignore_punctuation: true}]
        filter_list:
          - {name: strict, filter: [{function: regex, regex_pattern: "The answer is (\\d+)"}, {function: take_first}]}
          - {name: voted, filter: [{function: regex, regex_pattern: "(\\d+)"}, {function: majority_vote},
                                   {function: take_first}]}
    """,
}  # fmt: skip
DOCS: list[dict[str, Any]] = [
    {"q": f"Number {k}, and then", "choices": ["one", "two or so", "drei Bäume"], "a": k % 3, "n": str(k % 20)}
    for k in range(60)
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Path(tmp_path_factory.mktemp("tasks"))
    for name, part in (("data", DOCS), ("train", DOCS[40:])):
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)))
    for name, body in TASKS.items():
        lines = [line.removeprefix("        ") for line in body.strip("\n").splitlines()]
        files = {"test": str(place / "data.jsonl"), "train": str(place / "train.jsonl")}
        head = [f"task: {name}", "dataset_path: json", "test_split: test",
                f"dataset_kwargs: {json.dumps({'data_files': files})}"]  # fmt: skip
        (place / f"{name}.yaml").write_text("\n".join([*head, *lines]))
    return place


@pytest.fixture(scope="module")
async def theirs(folder: Path) -> dict[str, dict[str, float]]:
    """lm-eval's own results of the twin."""
    out = folder / "results.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "tests.core.audits.own.twin", str(folder), str(out),
        cwd=ROOT, env=os.environ | {"HF_DATASETS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-3000:]
    found: dict[str, dict[str, float]] = json.loads(out.read_text())
    return found


@cache
def fit(folder: Path, task: str) -> Suite:
    names = {"task": f"{task}.yaml", "data": "data.jsonl", "train": "train.jsonl"}
    return LM_EVAL.fit({name: folder / file for name, file in names.items()}, LmEvalOptions())


def answered(item: Item) -> Answer:
    """The twin's answer through our own questions."""
    match item.ask:
        case Score():
            found = [twin.likelihood(*pair) for pair in item.ask.pairs]
            return Answer(
                likelihoods=tuple(Likelihood(value, 1, 1, greedy) for value, greedy in found)
            )
        case Rolling():
            return Answer(likelihoods=(Likelihood(twin.rolling(item.ask.text), 9, 9),))
        case Write():
            texts = tuple(twin.written(item.ask.text, draw) for draw in range(item.ask.n))
            return Answer(texts=texts, finish=("stop",) * len(texts))


@pytest.mark.parametrize("task", TASKS)
async def test_figures_are_those_of_lm_eval_itself(
    folder: Path, theirs: dict[str, dict[str, float]], task: str
) -> None:
    suite = fit(folder, task)
    items = list(suite.items({}, LmEvalOptions()))
    assert [item.id for item in items] == [f"{task}/{doc}" for doc in range(len(DOCS))]
    rows = [suite.score(item, answered(item)) for item in items]
    assert all(row.valid for row in rows)
    mine = {metric.name: gathered(metric, rows).value(metric) for metric in suite.metrics}
    wanted = {
        f"lm-eval.{task}.{name.removesuffix(',none')}": value
        for name, value in theirs[task].items()
    }
    assert mine == pytest.approx(wanted, rel=1e-12)
    assert len(mine) >= 1


@pytest.mark.parametrize("task", ["choosing", "texts", "sums"])
def test_known_responders_score_what_they_must(folder: Path, task: str) -> None:
    suite = fit(folder, task)
    items = list(suite.items({}, LmEvalOptions()))[5:25]
    known = {control.name for control in suite.controls(items)}
    assert known == {"choosing": {"silent", "always_gold", "never_gold"}, "texts": {"silent", "bit_a_byte"},
                     "sums": {"silent"}}[task]  # fmt: skip
    for control in suite.controls(items):
        rows = [suite.score(item, control.answer(item)) for item in items]
        assert sum(row.valid for row in rows) / len(rows) == control.valid_rate
        for metric in suite.metrics:
            if metric.name in control.expected:
                sums = gathered(metric, rows)
                found = sums.value(metric) if sums.clusters else math.nan
                wanted = control.expected[metric.name]
                assert found == pytest.approx(wanted) if wanted is not None else math.isnan(found)


def test_what_is_asked_is_what_lm_eval_asks(folder: Path) -> None:
    item = next(iter(fit(folder, "sums").items({}, LmEvalOptions())))
    assert isinstance(item.ask, Write)
    assert (item.ask.n, item.ask.stop, item.ask.temperature) == (3, ("\n\n", "Question:"), 0.7)
    assert item.ask.text.count("Question:") == 3
    assert item.ask.text.endswith("Number 0, and then\nAnswer:")
    two = next(iter(fit(folder, "two_contexts").items({}, LmEvalOptions())))
    assert isinstance(two.ask, Score)
    assert two.ask.pairs == (
        ("Number 0, and then left", " and so on"), ("Number 0, and then right", " and so on"),
    )  # fmt: skip


def test_a_server_that_scores_nothing_gives_no_figure(folder: Path) -> None:
    suite = fit(folder, "choosing")
    item = next(iter(suite.items({}, LmEvalOptions())))
    for number in (0.0, -3.0, math.nan):
        row = suite.score(item, Answer(likelihoods=(Likelihood(number, 1, 1),) * 6))
        assert (row.valid, row.counts) == (False, {})


GOOD = TASKS["choosing"].replace("\n        ", "\n")
REFUSED = {
    "a function": (GOOD + '\nprocess_docs: !function "os.system"', "run code and are not taken"),
    "a function as a key": (GOOD + "\nprocess_results: anything", "process_results cannot be uploaded"),
    "another file": (GOOD + "\ninclude: /etc/passwd", "include cannot be uploaded"),
    "data elsewhere": (GOOD + "\ndataset_path: someone/data", "upload them as JSON lines"),
    "a fetched metric": (GOOD.replace("metric: acc}", "metric: ./code}", 1), "none of lm-eval's own"),
    "code that is run": (GOOD + "\nunsafe_code: true", "unsafe_code cannot be uploaded"),
    "a template that reaches out": (
        GOOD.replace('"{{q}}"', "\"{{ ''.__class__.__mro__[1].__subclasses__() }}\""), "SecurityError",
    ),
    "a field that is not there": (GOOD.replace("{{q}}", "{{question}}"), "'question' is undefined"),
    "no mapping": ("- a list", "one YAML mapping"),
    "no YAML": ("a: [", "no plain YAML"),
    "a way of asking that we have not": (
        TASKS["sums"].replace("temperature: 0.7", "num_beams: 4").replace("\n        ", "\n"), "num_beams",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def lm_eval() -> Iterator[LmEval]:
    found = LmEval()
    yield found
    found.close()


@pytest.mark.parametrize("case", REFUSED)
def test_an_uploaded_task_that_would_reach_further_is_refused(
    folder: Path, tmp_path: Path, lm_eval: LmEval, case: str
) -> None:
    body, says = REFUSED[case]
    path = tmp_path / "task.yaml"
    path.write_text(body if case.startswith("no ") else f"task: bad\n{body}")
    data = {"test": str(folder / "data.jsonl"), "train": str(folder / "train.jsonl")}
    load: dict[str, Any] = {
        "names": [],
        "fewshot": None,
        "config": str(path),
        "data": data,
        "cache": lm_eval.folder,
    }
    with pytest.raises(InvalidInput) as refused:
        lm_eval.ask({"load": load}, within_s=60)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "name a task of lm-eval, or upload one"),
        ({"tasks": ("no_such_task",)}, "there is no task 'no_such_task'"),
        ({"tasks": ("../task.yaml",)}, "there is no task"),
        ({"tasks": ("arc_easy",)}, "cannot be read on this host"),
    ],
)
def test_a_task_that_is_not_here_is_told_with_what_to_do(
    tmp_path: Path, options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(InvalidInput, match=says):
        LM_EVAL.fit({}, LmEvalOptions(**options))


def test_files_that_do_not_belong_together_are_told_by_name(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="'data' is missing"):
        LM_EVAL.fit({"task": folder / "choosing.yaml"}, LmEvalOptions())
    with pytest.raises(InvalidInput, match="give one of the two"):
        LM_EVAL.fit({"task": folder / "choosing.yaml"}, LmEvalOptions(tasks=("arc_easy",)))


def test_its_process_sees_no_secrets_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://secret")
    started = LmEval()
    try:
        environ = Path(f"/proc/{started.pid}/environ")
        # It is empty until the process has become another program.
        until(environ.read_bytes, "the process to have begun")
        seen = environ.read_bytes()
    finally:
        started.close()
    assert b"secret" not in seen
    assert b"HF_HUB_OFFLINE=1" in seen


def test_one_that_takes_too_long_is_ended_and_so_told() -> None:
    slow = LmEval()
    load: dict[str, Any] = {
        "names": ["arc_easy"], "fewshot": None, "config": None, "data": {}, "cache": slow.folder,
    }  # fmt: skip
    try:
        with pytest.raises(InvalidInput, match="took over"):
            slow.ask({"load": load}, within_s=0.01)
        with pytest.raises(Refused, match="has ended"):
            slow.ask({"load": load}, within_s=60)
    finally:
        slow.close()
