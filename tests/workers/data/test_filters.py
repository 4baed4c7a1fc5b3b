"""What rows are mended by and dropped for, each with its reason; and what near-duplicates mean for the split."""

import random
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.data.conftest import Run, chat
from workers.data import prose, repetition
from workers.data.alike import Alike
from workers.data.augmenting import copies
from workers.data.cleaning import Cleaning
from workers.data.filtering import Groups
from workers.data.plan import Augment, Filters
from workers.data.problems import Invalid
from workers.data.splitting import TRAIN, VALIDATION, split

PROSE = (
    "The river rises in the hills above the town and runs for thirty miles to the sea. In spring it floods the "
    "meadows, and people who have lived there for years move their cattle to higher ground. Nobody is surprised by "
    "that. They wait until the water has gone, mend the fences that it took, and begin again with what is left."
)
GERMAN = (
    "Der Fluss entspringt in den Hügeln über der Stadt und fließt dreißig Meilen weit bis zum Meer."
)


def words_of(seed: int, count: int = 120) -> str:
    chance = random.Random(seed)
    return " ".join("".join(chance.choices(string.ascii_lowercase, k=6)) for _ in range(count))


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("unicode", "e\u0301", "\u00e9"),
        ("control", "a\x07b\x85\ufeffc\ufdd0\r\nd\re\tf", "abc\nd\ne\tf"),
        ("mojibake", "dÃ©jÃ\xa0 vu", "déjà vu"),
        ("whitespace", "  a  \nb\t\n\n\n\n\nc \n", "a\nb\n\nc"),
    ],
)
def test_rows_are_mended_and_counted(field: str, before: str, after: str) -> None:
    off = dict.fromkeys(("unicode", "control", "mojibake", "whitespace"), False)
    cleaning = Cleaning(Filters(**off | {field: True}))
    assert cleaning.row({"prompt": before, "completion": "x"}) == {
        "prompt": after,
        "completion": "x",
    }
    assert cleaning.row({"text": "fine"}) == {"text": "fine"}
    assert cleaning.changed == Counter({field: 1})
    untouched = Cleaning(Filters(**off))
    assert untouched.row({"text": before}) == {"text": before}


def test_code_and_quotes_stay_as_they_are_by_default() -> None:
    code = "def f(x):\n    return \u201cx\u201d  # \ufb01ne\n\n\n\n\tpass  \n"
    cleaning = Cleaning(Filters())
    assert cleaning.row({"text": code}) == {"text": code}
    assert Cleaning(Filters(mojibake=True)).row({"text": code}) == {"text": code}


@given(st.text())
def test_mending_twice_changes_nothing_more(said: str) -> None:
    filters = Filters(unicode=True, control=True, whitespace=True)
    once = Cleaning(filters).row({"text": said})
    again = Cleaning(filters)
    assert again.row(once) == once


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (PROSE, None),
        ("too short " * 20, None),
        ("\n".join([PROSE[:60]] * 12), "duplicate_lines"),
        ("\n\n".join([PROSE] * 2), "duplicate_paragraphs"),
        (words_of(1, 40) + " very good" * 30, "top_2_gram"),
        (" ".join([words_of(2, 30)] * 3), "duplicate_5_grams"),
    ],
)
def test_gophers_rules_find_repetition(said: str, rule: str | None) -> None:
    found = repetition.too_repetitive(said)
    assert found is None if rule is None else found is not None and found.startswith(rule)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (PROSE, None),
        ("a b c d e f", "mean_word_length"),
        ("#first #second #third fourth", "symbols"),
        ("- another\n- together\n- whatever", "bullets"),
        ("123 4567 8910 word", "letters"),
        ("Lorem ipsum dolor sit amet", "placeholder"),
        ("Something without these words stands here", "stop_words"),
        ("The more of that ...\nand this ...", "symbols"),
    ],
)
def test_gophers_rules_know_prose(said: str, rule: str | None) -> None:
    found = prose.poor(said, english=True)
    assert found is None if rule is None else found is not None and found.startswith(rule)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (PROSE.replace(". ", ".\n"), None),
        ("Home\nAbout us\nContact\nImprint", "lines_without_end"),
        ("A line that is said twice, I think.\n" * 2 + PROSE[:80] + ".", "repeated_lines"),
        ("Yes.\nNo.\nMaybe so.\nI see.", "short_lines"),
    ],
)
def test_finewebs_rules_know_lists(said: str, rule: str | None) -> None:
    found = prose.listlike(said)
    assert found is None if rule is None else found is not None and found.startswith(rule)


def test_nothing_is_dropped_by_default(run: Run) -> None:
    rows = [
        chat("Hi", "ha " * 100),
        chat("Hi", "ha " * 100),
        chat("x", "- a"),
        chat("Wie?", GERMAN),
    ]
    report = run(rows).report
    assert report["rows"]["dropped"] == 0
    assert report["notes"]["exact_duplicates"] == 1


@pytest.mark.parametrize(
    ("filters", "rule", "lines"),
    [
        ({"min_chars": 10}, "min_chars", [1]),
        ({"max_chars": 300}, "max_chars", [3, 4, 5, 6]),
        ({"min_words": 20}, "min_words", [1, 2, 7]),
        ({"max_words": 70}, "max_words", [5, 6]),
        ({"repetition": True}, "repetition", [5, 6]),
        ({"languages": ["en"]}, "language", [7]),
        ({"exact_duplicates": True}, "exact_duplicates", [6]),
        ({"near_duplicates": True}, "near_duplicates", [4, 5, 6]),
    ],
)
def test_each_filter_says_what_it_dropped_and_why(
    run: Run, filters: dict[str, Any], rule: str, lines: list[int]
) -> None:
    rows = [
        chat("Hi", "Ho"), chat("What now?", "We will see tomorrow."), chat("Tell me", PROSE),
        chat("Tell me", PROSE.replace("cattle", "sheep")), chat("Again", PROSE + " very good" * 30),
        chat("Again", PROSE + " very good" * 30), chat("Wie?", GERMAN),
    ]  # fmt: skip
    report = run(rows, filters=filters).report
    assert list(report["dropped"]) == [rule]
    dropped = report["dropped"][rule]
    assert [one["line"] for one in dropped["examples"]] == lines
    assert dropped["rows"] == len(lines) == report["rows"]["dropped"]
    assert all(one["why"] and one["file"] == "train.jsonl" for one in dropped["examples"])
    assert report["train"]["documents"] == 7 - len(lines)


def test_when_all_rows_are_dropped_it_is_an_error_that_says_by_what(run: Run) -> None:
    ran = run([chat("Hi", "Ho")] * 3, filters={"min_chars": 100})
    assert ran.last["code"] == "no_rows_left"
    assert "all 3 were dropped (min_chars 3)" in ran.last["message"]


def test_what_mending_empties_is_dropped(run: Run) -> None:
    report = run([chat("Hi", "\x07\x07"), chat("Hi", "Ho")]).report
    assert report["dropped"]["empty"]["rows"] == 1


def test_the_preset_for_the_web_can_be_changed_field_by_field() -> None:
    filters = Filters.model_validate({"preset": "web", "min_words": 5})
    assert (filters.repetition, filters.near_duplicates, filters.min_words) == (True, True, 5)
    assert not Filters().repetition


def test_near_duplicates_are_found_as_often_as_published() -> None:
    """Two texts that share 75 % of their shingles meet in one of 14 bands of 8 with a chance of 77 %."""
    met = {0.9: 0, 0.75: 0, 0.4: 0}
    for share in met:
        for seed in range(60):
            text = words_of(seed, 400).split()
            # A changed word changes five shingles; Jaccard is shared over all.
            changed = round(396 * (1 - share) / (1 + share) / 5)
            other = list(text)
            for at in range(changed):
                other[at * (400 // max(changed, 1)) + 2] = f"other{at}"
            alike = Alike()
            alike.add(" ".join(text))
            alike.add(" ".join(other))
            met[share] += alike.groups()[1] == 0
    assert met[0.9] >= 57
    assert 36 <= met[0.75] <= 56
    assert met[0.4] <= 3


def test_groups_of_alike_texts_are_whole() -> None:
    alike = Alike()
    texts = [
        PROSE,
        words_of(1),
        PROSE + " Yes.",
        words_of(2),
        "Oh, " + PROSE + " Yes.",
        words_of(1),
    ]
    for one in texts:
        alike.add(one)
    assert list(alike.groups()) == [0, 1, 0, 3, 0, 1]


@given(data=st.data(), seed=st.integers(0, 5), share=st.sampled_from([0.1, 0.3, 0.5]))
def test_no_group_is_on_both_sides(data: st.DataObject, seed: int, share: float) -> None:
    drawn = data.draw(st.lists(st.integers(0, 30), min_size=2, max_size=60))
    firsts: dict[int, int] = {}
    group = [firsts.setdefault(one, at) for at, one in enumerate(drawn)]
    groups = Groups(np.ones(len(group), dtype=bool), np.array(group, dtype=np.int64))
    wanted = max(round(share * len(group)), 1)
    sizes = Counter(group).values()
    if len(sizes) == 1 or min(sizes) > wanted:
        with pytest.raises(Invalid, match="no rows that differ enough"):
            split(groups, share, seed)
        return
    part = split(groups, share, seed)
    assert list(split(groups, share, seed)) == list(part)
    sides: dict[int, set[int]] = {}
    for one, side in zip(group, part, strict=True):
        sides.setdefault(one, set()).add(int(side))
    assert all(len(found) == 1 for found in sides.values())
    assert 0 < int((part == VALIDATION).sum()) <= wanted
    assert int((part == TRAIN).sum()) > 0


def test_a_near_duplicate_of_a_training_row_is_never_held_out(run: Run) -> None:
    rows = [chat(f"Tell me {n % 40}", words_of(n % 40) + f" end{n}") for n in range(120)]
    ran = run(rows, validation_share=0.2, tokenise=False)
    train, held = (
        {row["messages"][0]["content"] for row in kept(ran.out / f"{side}.parquet")}
        for side in ("train", "validation")
    )
    assert held
    assert not train & held
    assert ran.report["validation"]["documents"] == 24


def kept(path: Path) -> list[Any]:
    return [orjson.loads(one) for one in pq.read_table(path)["row"].to_pylist()]


def test_without_rows_that_differ_nothing_can_be_held_out(run: Run) -> None:
    ran = run([chat("Hi", PROSE)] * 10, validation_share=0.2)
    assert (ran.last["code"], ran.last["param"]) == ("no_validation_rows", "validation_share")


def test_rows_of_a_validation_file_that_are_trained_on_are_counted(run: Run, tmp_path: Any) -> None:
    (tmp_path / "held.jsonl").write_bytes(
        orjson.dumps(chat("Hi", "Ho")) + b"\n" + orjson.dumps(chat("a", "b"))
    )
    held = {"path": str(tmp_path / "held.jsonl")}
    report = run([chat("Hi", "Ho"), chat("Hu", "Ha")], validation=[held]).report
    assert report["notes"]["validation_rows_in_training"] == 1
    assert report["validation"]["documents"] == 2


@pytest.mark.parametrize("noise", ["case", "punctuation", "whitespace", "typo"])
def test_noise_changes_what_is_asked_and_never_what_is_learned(noise: Any) -> None:
    augment = Augment(copies=5, noise=[noise], strength=0.5)
    said = chat("What, then, is 1234 plus seven?", "It is.")["messages"]
    row = {"messages": [{"role": "system", "content": "Be."}, *said]}
    made = list(copies(row, augment, 7))
    assert made
    assert made == list(copies(row, augment, 7))
    asked = {m["messages"][1]["content"] for m in made}
    assert row["messages"][1]["content"] not in asked
    assert len(asked) == len(made)
    assert all(
        m["messages"][0] == row["messages"][0] and m["messages"][2] == row["messages"][2]
        for m in made
    )
    assert noise == "punctuation" or all("1234" in one for one in asked)


def test_templates_are_put_around_what_is_asked() -> None:
    augment = Augment(copies=2, templates=["Please: {text}", "{text} Thanks {x}"])
    made = {m["prompt"] for m in copies({"prompt": "Go", "completion": "x"}, augment, 7)}
    assert made <= {"Please: Go", "Go Thanks {x}"}
    assert not list(copies({"text": "Go"}, augment, 7))


def test_copies_are_for_training_alone(run: Run) -> None:
    rows = [chat(f"What is the number {n}?", f"{words_of(n, 5)}") for n in range(50)]
    report = run(
        rows, validation_share=0.2, augment={"copies": 2, "noise": ["typo"], "strength": 1}
    ).report
    assert report["train"]["augmented"] == report["train"]["documents"] - 40 > 40
    assert (report["validation"]["augmented"], report["validation"]["documents"]) == (0, 10)
