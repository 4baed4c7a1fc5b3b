"""Known responders score exactly what is known of them, on the own packs and on files of any shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.audits.suite import Suite
from core.audits.suites.quality.accuracy import ACCURACY
from core.audits.suites.quality.calibration import CALIBRATION
from core.audits.suites.quality.consistency import CONSISTENCY
from core.audits.suites.quality.listed import QUALITY
from core.audits.suites.quality.perplexity import PERPLEXITY
from tests.core.audits.known import asked, hold

WRITTEN: list[dict[str, Any]] = [
    {"question": "Who?", "answer": "The owl"},
    {"question": "Where?", "answer": ["Rome", "in Rome"]},
    {"question": "Which?", "choices": ["red", "blue"], "answer": "blue"},
]


@pytest.mark.parametrize("suite", QUALITY, ids=lambda suite: suite.name)
def test_known_responders_score_what_they_must_on_the_own_pack(suite: Suite) -> None:
    items = asked(suite, {})
    hold(suite, items)
    # Whatever part of it is asked.
    hold(suite, items[3:14])
    assert len({item.id for item in items}) == len(items)
    assert all(item.groups for item in items)


@pytest.mark.parametrize(
    ("suite", "options"),
    [
        (ACCURACY, {"mode": "write"}),
        (ACCURACY, {"prompt": "Q: {question}\nA:"}),
        (CALIBRATION, {"per": "byte"}),
        (CALIBRATION, {"per": "character"}),
        (CONSISTENCY, {"draws": 1, "temperature": 0}),
        (CONSISTENCY, {"draws": 4, "reading": "number"}),
        (PERPLEXITY, {"window": 64, "stride": 16}),
    ],
    ids=lambda one: one.name if isinstance(one, Suite) else ",".join(one),
)
def test_they_do_whatever_the_options_are(suite: Suite, options: dict[str, Any]) -> None:
    hold(suite, asked(suite, {}, **options))


@pytest.mark.parametrize("scorer", ["exact", "normalised", "contains"])
def test_they_do_on_written_answers(tmp_path: Path, scorer: str) -> None:
    path = tmp_path / "written.jsonl"
    path.write_text("\n".join(map(json.dumps, WRITTEN)))
    hold(ACCURACY, asked(ACCURACY, {"data": path}, scorer=scorer))


def test_they_do_on_numbers_and_patterns(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"question": "7 + 5?", "answer": 12}))
    hold(ACCURACY, asked(ACCURACY, {"data": path}, scorer="number"))
    path.write_text(json.dumps({"question": "?", "answer": r"\b1[0-9]\b", "example": "It is 12."}))
    hold(ACCURACY, asked(ACCURACY, {"data": path}, scorer="regex"))
