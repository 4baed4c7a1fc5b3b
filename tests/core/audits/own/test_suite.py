"""A suite from an uploaded file: every scorer against known responders, and errors by line and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.audits.asking import Answer, Likelihood, Score, Write
from core.audits.suites.own.suite import OWN_FILE, OwnOptions
from core.errors import InvalidInput
from tests.core.audits.known import asked, hold

LINES: list[dict[str, Any]] = [
    {"prompt": "The sky is", "choices": ["blue", "a spoon"], "expected": 0, "groups": {"kind": "fact"}},
    {"prompt": "Which?", "choices": ["red", "blue"], "expected": "B", "scorer": "choice", "cluster": "c"},
    {"prompt": "Capital of Italy?", "expected": "Rome", "groups": {"area": "south"}},
    {"prompt": "Say yes.", "expected": ["Yes", "Yes."], "scorer": "exact", "id": "agree"},
    {"prompt": "Name a god.", "expected": "Thor", "scorer": "contains", "case": True},
    {"prompt": "A date?", "expected": r"\b\d{4}-\d{2}\b", "scorer": "regex", "example": "2026-11"},
    {"prompt": "7 + 5?", "expected": 12, "scorer": "number"},
    {"messages": [{"role": "user", "content": "Greet me."}], "scorer": "classifier",
     "category": "harassment", "example": "The library opens at nine.",
     "counterexample": "You are a worthless idiot and everyone hates you, you stupid loser."},
]  # fmt: skip
JUDGE = {"classifier": "penstock-lexical@1"}


def written(folder: Path, lines: list[dict[str, Any]]) -> dict[str, Path]:
    path = folder / "own.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return {"data": path}


def test_known_responders_score_what_they_must_by_every_scorer(tmp_path: Path) -> None:
    files = written(tmp_path, LINES)
    items = asked(OWN_FILE, files, **JUDGE)
    hold(OWN_FILE, items)
    for item in items:
        hold(OWN_FILE, [item])


def test_the_suite_has_the_dimensions_of_its_file(tmp_path: Path) -> None:
    fitted = OWN_FILE.fit(written(tmp_path, LINES), OWN_FILE.options())
    assert fitted.group_by == ("area", "kind")


def test_options_are_bound_to_the_classifier_that_they_name(tmp_path: Path) -> None:
    options = OwnOptions(**JUDGE)
    kept = options.model_dump(mode="json")
    assert len(kept["classifier_digest"]) == 64
    assert OwnOptions(**kept) == options
    kept["classifier_digest"] = "0" * 64
    with pytest.raises(InvalidInput, match="start a new audit"):
        asked(OWN_FILE, written(tmp_path, LINES), **kept)
    with pytest.raises(InvalidInput, match="line 8: field 'scorer' is classifier; name one"):
        asked(OWN_FILE, written(tmp_path, LINES))
    with pytest.raises(ValidationError, match="none of"):
        OwnOptions(classifier="nobody")


def test_what_is_asked_is_what_the_line_says(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye?"},
    ]
    files = written(
        tmp_path,
        [*LINES[:2], {"messages": turns, "expected": "Bye", "max_tokens": 3, "stop": ["\n"]}],
    )
    first, second, third = asked(OWN_FILE, files, max_tokens=9)
    assert first.ask == Score("The sky is", (" blue", " a spoon"))
    assert isinstance(second.ask, Write)
    assert second.ask.text.startswith("Which?\nA. red\nB. blue\n")
    assert second.ask.max_tokens == 9
    assert (second.id, second.cluster) == ("2", "c")
    assert third.ask == Write(
        "System: Be brief.\n\nUser: Hello?\n\nAssistant: Hello.\n\nUser: Bye?\n\nAssistant:",
        3,
        ("\n",),
    )


def test_the_likeliest_choice_is_the_answer_and_a_server_that_scores_nothing_gives_none(
    tmp_path: Path,
) -> None:
    item = asked(OWN_FILE, written(tmp_path, LINES), **JUDGE)[0]
    said = (Likelihood(-2.0, 1, 4), Likelihood(-9.0, 2, 7))
    assert OWN_FILE.score(item, Answer(likelihoods=said)).counts == {"items": 1.0, "correct": 1.0}
    for nothing in ((0.0, 0.0), (float("nan"), -1.0), (-1.0,)):
        answer = Answer(likelihoods=tuple(Likelihood(one, 1, 1) for one in nothing))
        row = OWN_FILE.score(item, answer)
        assert (row.valid, row.counts, row.groups) == (False, {}, {"kind": "fact"})


REFUSED: list[tuple[Any, str, str]] = [
    ({"expected": "x"}, "prompt", "give one of the two"),
    ({"prompt": "?", "messages": LINES[7]["messages"], "expected": "x"}, "prompt", "give one of the two"),
    ({"prompt": "?"}, "expected", "is missing"),
    ({"prompt": "?", "expected": []}, "expected", "is missing"),
    ({"prompt": "?", "choices": ["a", "b"], "expected": 2}, "expected", "none of the choices"),
    ({"prompt": "?", "choices": ["a", "a"], "expected": 0}, "choices", "differ"),
    ({"prompt": "?", "choices": ["a"], "expected": 0}, "choices", "two or more"),
    ({"prompt": "?", "expected": "x", "scorer": "fuzzy"}, "scorer", "is wrong"),
    ({"prompt": "?", "expected": "(a+)+$", "scorer": "regex", "example": "a"}, "expected", "too long"),
    ({"prompt": "?", "expected": "a+", "scorer": "regex"}, "example", "needs an answer"),
    ({"prompt": "?", "expected": "a+", "scorer": "regex", "example": "b"}, "example", "not right"),
    ({"prompt": "?", "expected": "b", "counterexample": "B!"}, "counterexample", "not wrong"),
    ({"prompt": "?", "expected": "The.", "scorer": "contains"}, "expected", "punctuation"),
    ({"prompt": "?", "expected": "twelve", "scorer": "number"}, "expected", "no number"),
    ({"prompt": "?", "scorer": "classifier", "category": "rudeness"}, "category", "give one of"),
    ({"prompt": "?", "scorer": "classifier", "category": "harassment"}, "counterexample", "must be an answer"),
    ({"prompt": "?", "expected": "x", "promt": "?"}, "promt", "is not known"),
    ({"prompt": 7, "expected": "x"}, "prompt", "is wrong"),
    ({"prompt": "?", "expected": True}, "expected", "is wrong"),
    ({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}], "expected": "x"},
     "messages", "end with"),
    (["prompt"], "", "is wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "field", "says"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_wrong_line_is_told_by_file_line_and_field(
    tmp_path: Path, line: Any, field: str, says: str
) -> None:
    files = written(tmp_path, [LINES[2], line])
    with pytest.raises(InvalidInput) as refused:
        asked(OWN_FILE, files, **JUDGE)
    assert refused.value.message.startswith("file 'data', line 2:")
    assert (
        f"field {field!r}" in refused.value.message
        or f"field '{field}." in refused.value.message
        or not field
    )
    assert says in refused.value.message
    assert refused.value.param == "files.data"


@pytest.mark.parametrize(
    ("raw", "says"),
    [(b"", "the file holds nothing"), (b"{\n", "not a JSON object"), (b'{"prompt": "\xff"}', "not a JSON object"),
     (b'{"prompt": "a\\u0000", "expected": "x"}', "NUL"), (b'"' + b"x" * (1 << 20), "over 1 MiB")],
    ids=["empty", "cut", "not UTF-8", "NUL", "long"],
)  # fmt: skip
def test_a_file_that_is_no_json_lines_is_refused(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(raw)
    with pytest.raises(InvalidInput, match=says):
        asked(OWN_FILE, {"data": path})


def test_a_missing_file_and_an_unknown_one_are_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="needs a file 'data'"):
        asked(OWN_FILE, {})
    with pytest.raises(InvalidInput, match="no file 'more'"):
        asked(OWN_FILE, {"more": tmp_path})


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"line 2: field 'id' 'agree' stands on a line before"):
        asked(OWN_FILE, written(tmp_path, [LINES[3], LINES[3]]))
