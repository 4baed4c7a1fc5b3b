"""From rows to what the trainer reads: one run seen from outside, twice the same, stopped, killed and begun again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from core.catalog.tokenizer import Text
from core.config import MODEL_FOLDER
from tests.workers.data.conftest import Run, chat, written

COLOURS = ["red", "green", "blue", "pink", "grey", "gold", "teal", "plum"]
ROWS = [
    chat(
        f"Which colour has number {n}?", f"Number {n} is {COLOURS[n % 8]}, {'so ' * (n % 9)}it is."
    )
    for n in range(120)
]


def test_rows_become_packed_ids_of_which_the_answers_are_learned(run: Run, text: Text) -> None:
    ran = run(ROWS, max_length=128, validation_share=0.1)
    assert [e["phase"] for e in ran.events if e["type"] == "phase"][:4] == [
        "reading", "filtering", "tokenising", "packing",
    ]  # fmt: skip
    train = datasets.load_from_disk(str(ran.out / "train"))
    assert set(train.column_names) == {"input_ids", "loss", "segments"}
    said = []
    for row in train:
        assert len(row["input_ids"]) == len(row["loss"]) == sum(row["segments"]) <= 128
        at = 0
        for size in row["segments"]:
            ids, loss = row["input_ids"][at : at + size], row["loss"][at : at + size]
            at += size
            learned = [i for i, learned in zip(ids, loss, strict=True) if learned]
            assert learned[-1] == text.end
            said.append((text.decode(ids), text.decode(learned)))
    whole = {f"{r['messages'][0]['content']}{r['messages'][1]['content']}" for r in ROWS}
    assert {one for one, _ in said} < whole
    assert all(one.endswith(answer) and answer.startswith("Number") for one, answer in said)
    assert ran.report["rows"] == {"read": 120, "kept": 120, "dropped": 0}
    assert ran.report["train"]["documents"] == 108 == len(said)
    assert ran.report["validation"]["documents"] == 12


def test_the_report_counts_what_is_there(run: Run) -> None:
    ran = run(ROWS, max_length=128)
    train = datasets.load_from_disk(str(ran.out / "train"))
    part = ran.report["train"]
    assert part["tokens"] == sum(len(r["input_ids"]) for r in train)
    assert (
        part["learned_tokens"] == sum(sum(r["loss"]) for r in train) == ran.report["learned_tokens"]
    )
    assert part["rows"] == len(train)
    assert sum(part["lengths"].values()) == part["documents"] == 120
    assert part["longest_row"] == max(len(r["input_ids"]) for r in train)
    padding = part["padding"]
    assert padding["packed"] < padding["naive"]
    assert padding["bucketed"] < padding["naive"]
    assert json.loads((ran.out / "report.json").read_bytes()) == ran.report


def test_the_same_data_and_settings_give_the_same_bytes(run: Run) -> None:
    plan = {
        "validation_share": 0.1,
        "augment": {"copies": 1, "noise": ["typo", "case"], "strength": 0.5},
    }
    first, second = run(ROWS, **plan), run(ROWS, **plan)
    files = sorted(p.relative_to(first.out) for p in first.out.rglob("*") if p.is_file())
    assert len(files) == 7
    for file in files:
        assert (first.out / file).read_bytes() == (second.out / file).read_bytes(), file
    other = run(ROWS, **plan | {"seed": 8})
    assert other.report["digest"] != first.report["digest"]


def child(folder: Path, sources: list[dict[str, str]]) -> dict[str, Any]:
    """The last event of a run in a process of its own."""
    plan = {"sources": sources, "tokenizer": str(MODEL_FOLDER), "out": str(folder / "out")}
    (folder / "plan.json").write_text(json.dumps(plan))
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.data", str(folder / "plan.json")],
        env=os.environ | {"PENSTOCK_EVENTS_FD": str(writing)}, pass_fds=[writing],
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as told:
        events = [json.loads(line) for line in told]
    assert process.wait() == 0
    last: dict[str, Any] = events[-1]
    return last


def test_a_process_of_its_own_says_what_happens_and_leaves_nothing_else(tmp_path: Path) -> None:
    last = child(tmp_path, [written(tmp_path / "train.jsonl", ROWS)])
    assert last["type"] == "done"
    assert set(last["seconds"]) == {"reading", "filtering", "tokenising", "packing"}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.json", "train"]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for count in (1_000, 200_000):
        with (tmp_path / "train.jsonl").open("w") as file:
            file.writelines(
                f'{{"text": "Line {n} of a book about the sea"}}\n' for n in range(count)
            )
        last = child(tmp_path, [{"path": str(tmp_path / "train.jsonl")}])
        assert last["report"]["train"]["documents"] == count
        peaks.append(last["peak_bytes"])
    # The rows as Python has them would be over 100 MiB: measured were 20. A row's numbers are some 60 bytes.
    assert 2**20 < peaks[1] - peaks[0] < 40 * 2**20, peaks


def test_asked_to_stop_it_ends_with_stopped(run: Run) -> None:
    ran = run(ROWS, before=lambda folder: (folder / "stop").touch())
    assert ran.last == {"type": "stopped", "step": 0}


def test_what_an_attempt_that_was_killed_left_is_replaced(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    (out / "train").mkdir(parents=True)
    (out / "train" / "half").write_bytes(b"x")
    (out / ".work").mkdir()
    (out / "report.json").write_bytes(b"{}")
    fresh, again = run(ROWS), run(ROWS, out=str(out))
    assert again.report == fresh.report
    assert sorted(p.name for p in out.iterdir()) == ["report.json", "train"]
    assert not (out / "train" / "half").exists()


@pytest.mark.parametrize(
    ("plan", "field", "says"),
    [
        ({"filters": {"min_char": 3}}, "filters.min_char", "there are preset, unicode"),
        ({"augment": {"copies": 2}}, "augment", "copies needs noise or templates"),
        ({"augment": {"copies": 1, "templates": ["Answer me"]}}, "augment", "must hold {text}"),
        ({"augment": {"noise": ["loud"]}}, "augment.noise.0", "'case', 'punctuation'"),
        ({"filters": {"languages": ["English"]}}, "filters.languages.0", "should match pattern"),
        ({"validation_share": 0.7}, "validation_share", "less than or equal to 0.5"),
        ({"tokenizer": None}, "", "tokenise needs a tokenizer"),
    ],
)
def test_a_wrong_setting_is_named(run: Run, plan: dict[str, object], field: str, says: str) -> None:
    ran = run(ROWS, **plan)
    assert (ran.last["code"], ran.last["param"] or "") == ("invalid_value", field)
    assert ran.last["message"].startswith(field)
    assert says in ran.last["message"]
