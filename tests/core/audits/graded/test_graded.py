"""Graded answers: templates, graders by rules, one figure a grader, and what of a file or an option is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from core.audits.asking import Answer
from core.audits.suite import Suite
from core.audits.suites.graded.listed import ALL, GradedOptions, graded
from core.audits.suites.graded.similarity import MEASURES
from core.audits.suites.graded.templates import filled
from core.errors import InvalidInput

CHECK = {
    "type": "string_check", "name": "same", "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}", "operation": "eq",
}  # fmt: skip
ALIKE = {
    "type": "text_similarity", "name": "alike", "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}", "evaluation_metric": "rouge_1", "pass_threshold": 0.5,
}  # fmt: skip
ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "{{ item.question }}?"},
]
LINES = [
    {"item": {"question": "2 + 2", "answer": "4", "cluster": "sums"}},
    {"item": {"question": "a capital", "answer": "Paris in France"}},
]


def options(**more: Any) -> GradedOptions:
    return GradedOptions.model_validate({"messages": ASKED, "graders": [CHECK, ALIKE]} | more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)) + "\n\n")
    return path


def suite(of: GradedOptions) -> Suite:
    return graded.fit({}, of)


def test_each_line_is_a_question(file: Path) -> None:
    one, two = graded.items({"data": file}, options(max_tokens=8))
    assert one.ask.messages == [  # type: ignore[union-attr]
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"},
    ]  # fmt: skip
    assert one.ask.plain == "Be brief.\n\n2 + 2?"  # type: ignore[union-attr]
    assert (one.id, one.cluster, two.id, two.cluster) == ("1", "sums", "2", "2")


@pytest.mark.parametrize(
    ("operation", "output", "score"),
    [
        ("eq", "4", 1), ("eq", "4 ", 0), ("ne", "4", 0), ("ne", "5", 1), ("like", "it is 4.", 1),
        ("like", "it is five", 0), ("ilike", "4", 1),
    ],
)  # fmt: skip
def test_a_string_is_checked(file: Path, operation: str, output: str, score: int) -> None:
    of = options(graders=[CHECK | {"operation": operation}])
    item = next(graded.items({"data": file}, of))
    row = suite(of).score(item, Answer((output,)))
    assert (row.counts["score[same]"], row.counts["passed"]) == (score, score)


def test_case_matters_to_like_and_not_to_ilike(file: Path) -> None:
    of = options(graders=[CHECK | {"operation": o, "name": o} for o in ("like", "ilike")])
    *_, item = graded.items({"data": file}, of)
    row = suite(of).score(item, Answer(("it is PARIS IN FRANCE",)))
    assert (row.counts["passed[like]"], row.counts["passed[ilike]"], row.counts["passed"]) == (
        0,
        1,
        0,
    )


@pytest.mark.parametrize(
    ("measure", "a", "b", "value"),
    [
        ("fuzzy_match", "kitten", "sitting", 2 * 4 / 13),
        ("fuzzy_match", "", "", 0.0),
        ("rouge_1", "the cat sat", "The cat ran!", 2 * 2 / 6),
        ("rouge_2", "the cat sat", "the cat ran", 2 * 1 / 4),
        ("rouge_l", "a b c d", "a x c d", 2 * 3 / 8),
        ("gleu", "the cat sat", "the cat sat", 1.0),
        ("gleu", "the cat sat", "the cat ran", 3 / 6),
    ],
)
def test_likeness_is_measured_as_it_is_published(
    measure: str, a: str, b: str, value: float
) -> None:
    assert MEASURES[measure](a, b) == pytest.approx(value)


def test_the_longest_common_subsequence_is_that_of_the_slow_way() -> None:
    def slow(a: str, b: str) -> int:
        row = [0] * (len(b) + 1)
        for x in a:
            before, row = row, [0]
            for n, y in enumerate(b):
                row.append(before[n] + 1 if x == y else max(row[-1], before[n + 1]))
        return row[-1]

    words = ["abcbdab", "bdcaba", "x" * 70 + "y", "xyx" * 40, "ü€a", ""]
    for a in words:
        for b in words:
            total = len(a) + len(b)
            assert MEASURES["fuzzy_match"](a, b) * total == pytest.approx(2 * slow(a, b))


def test_each_grader_has_its_figure_and_all_of_them_one(file: Path) -> None:
    of = options()
    names = [metric.name for metric in suite(of).metrics]
    assert names == [ALL, "graded.same", "graded.alike"]
    *_, item = graded.items({"data": file}, of)
    row = suite(of).score(item, Answer(("Paris",)))
    assert row.counts == {
        "asked": 1, "score[same]": 0, "passed[same]": 0, "score[alike]": 0.5, "passed[alike]": 1,
        "passed": 0,
    }  # fmt: skip


def test_its_controls_score_what_they_must(file: Path) -> None:
    of = options()
    asked = list(graded.items({"data": file}, of))
    made = suite(of)
    for control in made.controls(asked):
        rows = [made.score(item, control.answer(item)) for item in asked]
        assert sum(row.valid for row in rows) / len(rows) == control.valid_rate
        valid = [row for row in rows if row.valid]
        for metric in made.metrics:
            if metric.name in control.expected and valid:
                hits = metric.value(
                    {n: np.array(sum(r.counts[n] for r in valid)) for n in valid[0].counts}
                )
                assert hits == control.expected[metric.name]


def test_what_is_put_into_a_template_is_not_read_as_one() -> None:
    item = {"a": "{{item.b}}", "b": {"c": [1, "ü"]}}
    assert filled("{{item.a}} {{ item.b.c }} {{sample.output_text}}", item, "{{item.a}}") == (
        '{{item.b}} [1, "ü"] {{item.a}}'
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"item": {"question": "q"}}',
            "field 'item.answer' is missing, and the template names it",
        ),
        ('{"item": {"answer": "q"}}', "field 'item.question' is missing"),
        ('{"question": "q"}', "field 'item' is missing; write a JSON object, {\"item\": {...}}"),
        ('{"item": [1]}', "field 'item' is wrong"),
        ("not JSON", "is not a JSON object in UTF-8"),
        ("[1]", "is wrong"),
        ('{"item": {"question": "\\ud800", "answer": "a"}}', "is not a JSON object in UTF-8"),
        ('{"item": {"question": "a\\u0000", "answer": "a"}}', "holds a NUL character"),
        (b'{"item": {"question": "\xff"}}', "is not a JSON object in UTF-8"),
        ("[" * 10_000, "is not a JSON object in UTF-8"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_by_its_number(
    tmp_path: Path, line: str | bytes, message: str
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(line if isinstance(line, bytes) else line.encode())
    with pytest.raises(InvalidInput) as refused:
        list(graded.items({"data": path}, options()))
    assert refused.value.message.startswith("file 'data', line 1: ")
    assert message in refused.value.message
    assert refused.value.param == "files.data"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"graders": [CHECK | {"input": "{{sample.output_json}}"}]}, "sample.output_json"),
        ({"graders": [ALIKE | {"evaluation_metric": "cosine"}]}, "cosine.* not supported"),
        ({"graders": [ALIKE | {"evaluation_metric": "meteor"}]}, "meteor.* not supported"),
        ({"graders": [CHECK, CHECK]}, "same is there twice"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "must be the user's"),
        ({"messages": [{"role": "user", "content": "{{sample.output_text}}"}]}, "cannot name"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_its_name(
    more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        options(**more)


def test_an_answer_that_is_not_there_is_invalid_and_an_empty_one_fails(file: Path) -> None:
    of = options()
    item = next(graded.items({"data": file}, of))
    assert not suite(of).score(item, Answer()).valid
    assert suite(of).score(item, Answer(("",))).counts["passed"] == 0
