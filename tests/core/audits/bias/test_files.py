"""Files that are not as published: each is refused by file, line and field, with what to do."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.audits.asking import Item, Score, Write
from core.audits.suite import Suite
from core.audits.suites.bias import packs
from core.audits.suites.bias.bbq import BBQ
from core.audits.suites.bias.bold import BOLD
from core.audits.suites.bias.counterfactual import COUNTERFACTUAL
from core.audits.suites.bias.crows import CROWS
from core.audits.suites.bias.listed import BIAS
from core.audits.suites.bias.stereoset import STEREOSET
from core.audits.suites.bias.winobias import WINOBIAS
from core.errors import InvalidInput
from tests.core.audits.bias.scoring import items_of


def asked(item: Item) -> tuple[str, ...]:
    if isinstance(item.ask, Score):
        return (item.ask.context, *item.ask.contexts, *item.ask.continuations)
    return (item.ask.text,) if isinstance(item.ask, Write) else ()


HEADER = "sent_more,sent_less,stereo_antistereo,bias_type\n"


def refusal(suite: Suite, tmp_path: Path, files: dict[str, str | bytes], **options: Any) -> str:
    """The message; the field at fault is one of the suite's files or options."""
    paths = {}
    for name, content in files.items():
        paths[name] = tmp_path / name
        paths[name].write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InvalidInput) as refused:
        items_of(suite, paths, **options)
    assert refused.value.param is not None
    assert refused.value.param.startswith(("files.", "options."))
    assert ";" in refused.value.message, "what is wrong; what to do"
    return refused.value.message


CROWS_WRONG: list[tuple[str | bytes, list[str]]] = [
    ("", ["'data', line 1", "sent_more", "header"]),
    ("sent_more,sent_less,bias_type\na,b,age\n", ["line 1", "stereo_antistereo", "header"]),
    (HEADER + "a,b,stereo,age\na,b,neither,age\n", ["line 3", "stereo_antistereo", '"neither"', '"antistereo"']),
    (HEADER + ",b,stereo,age\n", ["line 2", "sent_more", "give the sentence"]),
    (HEADER + "a,,stereo,age\n", ["line 2", "sent_less"]),
    (HEADER + "a,b,stereo,\n", ["line 2", "bias_type"]),
    (HEADER + "a,b,stereo\n", ["line 2", "3 fields", "header has 4"]),
    (HEADER + '"a\nc",b,stereo,age\na,b,stereo,age,x\n', ["line 4", "5 fields", "quotes"]),
    (HEADER + "a,a,stereo,age\n", ["line 2", "sent_less", "same"]),
    (HEADER + 'a,"b,stereo,age\n', ["line 2", "cannot be read"]),
    (HEADER.encode() + b"a,b\xff,stereo,age\n", ["line 2", "UTF-8"]),
    (HEADER, ["line 1", "no rows"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "named"), CROWS_WRONG)
def test_crows_pairs_names_what_is_wrong(
    tmp_path: Path, content: str | bytes, named: list[str]
) -> None:
    message = refusal(CROWS, tmp_path, {"data": content})
    assert all(one in message for one in named), message


def bbq_row(**changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = json.loads((packs.PACKS / "bbq.jsonl").read_text().splitlines()[0])
    return {name: value for name, value in (row | changed).items() if value is not ...}


BBQ_WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"label": 3}, ["label", "not 3", "0, 1 or 2"]),
    ({"label": ...}, ["label", "is missing"]),
    ({"example_id": "one"}, ["example_id", '"one"', "whole number"]),
    ({"question_polarity": "negative"}, ["question_polarity", '"neg"']),
    ({"context_condition": None}, ["context_condition", "null", '"ambig"']),
    ({"context": ""}, ["context", "passage"]),
    ({"question": 4}, ["question", "not 4"]),
    ({"ans1": ...}, ["ans1", "second answer"]),
    ({"category": ""}, ["category"]),
    ({"answer_info": {"ans0": ["a", "b"], "ans1": ["a", "b"]}}, ["answer_info.ans2", "group code"]),
    ({"answer_info": {"ans0": "a", "ans1": [], "ans2": []}}, ["answer_info.ans0"]),
    ({"answer_info": {f"ans{k}": ["a", "old"] for k in range(3)}}, ["answer_info", '"unknown"']),
    ({"answer_info": {f"ans{k}": ["a", "unknown"] for k in range(3)}}, ["exactly one"]),
    ({"additional_metadata": {}}, ["additional_metadata.stereotyped_groups", "list"]),
    ({"split": "dev"}, ["split", '"held_out"']),
    ({"example_id": 0}, ["example_id", "twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "named"), BBQ_WRONG)
def test_bbq_names_what_is_wrong(tmp_path: Path, changed: dict[str, Any], named: list[str]) -> None:
    rows = [bbq_row(), bbq_row(**{"example_id": 9} | changed)]
    message = refusal(BBQ, tmp_path, {"data": "\n\n".join(map(json.dumps, rows))})
    assert all(one in message for one in ["'data', line 3", *named]), message


ROW, TARGETS = json.dumps(bbq_row()), "category,example_id,target_loc\n"


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"data": ""}, ["line 1", "nothing"]),
        ({"data": "[1]"}, ["line 1"]),
        ({"data": '{"example_id": 1'}, ["line 1", "not a JSON object"]),
        ({"metadata": TARGETS}, ["'metadata'", "no questions"]),
        ({"wrong": ""}, ["'wrong'", "data or metadata"]),
        ({"data": ROW, "metadata": "category,example_id\nAge,1\n"}, ["'metadata', line 1", "target_loc"]),
        ({"data": ROW, "metadata": TARGETS + "Age,0,4\n"}, ["line 2", "target_loc", '"4"']),
        ({"data": ROW, "metadata": TARGETS + "Age,x,1\n"}, ["line 2", "example_id"]),
    ],
)  # fmt: skip
def test_bbqs_files_belong_together(
    tmp_path: Path, files: dict[str, str | bytes], named: list[str]
) -> None:
    message = refusal(BBQ, tmp_path, files)
    assert all(one in message for one in named), message


def test_bbq_without_any_target_asks_for_the_authors_file(tmp_path: Path) -> None:
    row = bbq_row(additional_metadata={"stereotyped_groups": ["somebody"]})
    assert "additional_metadata.csv" in refusal(BBQ, tmp_path, {"data": json.dumps(row)})


def example(**changed: Any) -> dict[str, Any]:
    labels = ("stereotype", "anti-stereotype", "unrelated")
    made = {"id": "1", "target": "cook", "bias_type": "profession", "context": "The cook is BLANK.",
            "sentences": [{"id": one, "sentence": f"The cook is {one}.", "gold_label": one,
                           "labels": [{"human_id": "h1", "label": one}]} for one in labels]}  # fmt: skip
    return {name: value for name, value in (made | changed).items() if value is not ...}


def stereoset(*examples: Any, task: str = "intrasentence") -> str:
    return json.dumps({"version": "1.1", "data": {task: list(examples)}})


STEREOSET_WRONG: list[tuple[str, list[str]]] = [
    ("{", ["'data', line 1", "not JSON"]),
    ("[]", ["data", "an object"]),
    ('{"data": []}', ["data", "an object"]),
    ('{"data": {}}', ["no examples", "dev.json"]),
    (stereoset(), ["no examples"]),
    ('{"data": {"intrasentence": {"a": 1}}}', ["data.intrasentence", "a list"]),
    (stereoset(example(), example(id="2", target=...)), ["data.intrasentence[1]", "target", "is missing"]),
    (stereoset(example(bias_type="")), ["[0]", "bias_type"]),
    (stereoset(example(context=3)), ["context", "not 3"]),
    (stereoset(example(sentences=[])), ["sentences", "nothing", "one of each"]),
    (stereoset(example(sentences=example()["sentences"][:2])), ["sentences", "has stereotype, anti-stereotype;"]),
    (stereoset(example(sentences=[example()["sentences"][0]] * 3)), ["sentences", "one of each"]),
    (stereoset(example(sentences=[{"sentence": "x", "gold_label": "good"}])), ["sentences.0.gold_label", '"good"']),
    (stereoset(example(), example()), ["[1]", "'1'", "twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "named"), STEREOSET_WRONG)
def test_stereoset_names_what_is_wrong(tmp_path: Path, content: str, named: list[str]) -> None:
    message = refusal(STEREOSET, tmp_path, {"data": content})
    assert all(one in message for one in named), message


def test_a_task_that_stereosets_file_has_not_is_refused(tmp_path: Path) -> None:
    content = stereoset(example())
    message = refusal(STEREOSET, tmp_path, {"data": content}, tasks=("intersentence",))
    assert "intersentence" in message


GOOD = "1 [The cook] thanked the guard because [she] was hungry.\n"
WINOBIAS_WRONG: list[tuple[dict[str, str | bytes], list[str]]] = [
    ({"pro_t1": GOOD}, ["'pro_t1' needs 'anti_t1'"]),
    ({"anti_t2": GOOD}, ["'anti_t2' needs 'pro_t2'"]),
    ({"pro_t1": GOOD, "anti_t1": GOOD * 2}, ["'anti_t1', line 2", "number", "is 1"]),
    ({"pro_t1": GOOD, "anti_t1": GOOD + GOOD.replace("1", "2")}, ["'anti_t1'", "2 lines", "has 1"]),
    ({"pro_t1": "The cook", "anti_t1": GOOD}, ["'pro_t1', line 1", "number", "missing"]),
    ({"pro_t1": "1 The cook saw [her].", "anti_t1": GOOD}, ["line 1", "person", "0 times"]),
    ({"pro_t1": "1 [The cook] saw the guard.", "anti_t1": GOOD}, ["line 1", "pronoun", "not marked"]),
    ({"pro_t1": "1 [The cook] saw [the guard] as [she] left.", "anti_t1": GOOD}, ["person", "2 times"]),
    ({"pro_t1": "1 [The cook saw [her].", "anti_t1": GOOD}, ["line 1", "brackets"]),
    ({"pro_t1": GOOD, "anti_t1": GOOD}, ["line 1", "sentence", "names none"]),
    ({"pro_t1": "", "anti_t1": ""}, ["line 1", "number"]),
    ({"pro_t1": b"1 \xff", "anti_t1": GOOD}, ["'pro_t1', line 1", "UTF-8"]),
    ({"data": GOOD}, ["'data'", "pro_t1"]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "named"), WINOBIAS_WRONG)
def test_winobias_names_what_is_wrong(
    tmp_path: Path, files: dict[str, str | bytes], named: list[str]
) -> None:
    message = refusal(WINOBIAS, tmp_path, files)
    assert all(one in message for one in named), message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[]", ["'gender', line 1", "group"]),
        ("{}", ["line 1"]),
        ('{"women": []}', ["women", "an object"]),
        ('{"women": {"Anna": "Anna is"}}', ["women.Anna", "a list"]),
        ('{"women": {"Anna": ["Anna is", null]}}', ["women.Anna[1]", "beginning of a sentence"]),
        ('{"women": {"Anna": [7]}}', ["women.Anna[0]", "not 7"]),
        ('{"women": {"Anna": []}}', ["no prompts"]),
        ('{"women": {"Anna": ["", " "]}}', ["no prompts"]),
        ('{"women": {"Anna": ["\\ud800"]}}', ["women.Anna[0]", "must be a text"]),
        ('{"women": {"Anna": ["a\\u0000"]}}', ["line 1", "NUL"]),
        ('{"women":', ["line 1", "not JSON"]),
        ("[" * 100_000, ["nested too deeply"]),
    ],
)
def test_bold_names_what_is_wrong(tmp_path: Path, content: str, named: list[str]) -> None:
    message = refusal(BOLD, tmp_path, {"gender": content})
    assert all(one in message for one in named), message


def test_bolds_empty_prompts_are_passed_over_and_the_others_keep_their_places(
    tmp_path: Path,
) -> None:
    """Five of the published ones are empty, of political and religious ideology."""
    path = tmp_path / "religious_ideology"
    path.write_text('{"islam": {"Sufism": ["Sufism is", "", "Sufis say"]}}')
    items = items_of(BOLD, {"religious_ideology": path})
    assert [item.id.rpartition("/")[2] for item in items] == ["0", "2"]


def test_of_three_people_the_pronouns_choice_is_between_the_first_two(tmp_path: Path) -> None:
    """As in line 72 of WinoBias's development split of type 2."""
    third = "The cook liked [the guard] and told [her] of the baker.\n"
    known = "2 [The cook] saw the baker as [she] left.\n3 [The baker] saw the cook as [she] left.\n"
    for name in ("pro_t2", "anti_t2"):
        (tmp_path / name).write_text("1 " + third + known)
    first = items_of(WINOBIAS, {name: tmp_path / name for name in ("pro_t2", "anti_t2")})[0]
    assert first.data["choices"] == ["cook", "guard"]
    assert first.data["gold"] == 1


GROUPS = {"age": {"old": {"age": "old"}, "young": {"age": "young"}}}
CLOZE = {"id": "1", "dimension": "age", "context": "The {age} man is", "high": [" good"], "low": [" bad"]}  # fmt: skip


def templates(*several: Any, groups: Any = GROUPS) -> str:
    return json.dumps({"groups": groups, "templates": list(several)})


TEMPLATES_WRONG: list[tuple[str, list[str]]] = [
    ("3", ["groups"]),
    ('{"templates": []}', ["groups", "is missing"]),
    ('{"groups": {}}', ["templates", "a list"]),
    (templates(), ["templates", "empty"]),
    (templates(CLOZE, groups={"age": {"old": {"age": "old"}}}), ["groups.age", "fewer than two"]),
    (templates(CLOZE, groups={"age": {"old": {"age": 3}}}), ["groups.age.old.age", "not 3"]),
    (templates(CLOZE, CLOZE), ["templates[1]", "'1'", "twice"]),
    (templates(CLOZE | {"dimension": "size"}), ["templates[0]", "dimension", "'size'", "age"]),
    (templates(CLOZE | {"context": "The {agee} man"}), ["context", "{agee}", "groups.age.old"]),
    (templates(CLOZE | {"context": "The man is"}), ["context", "same for two groups"]),
    (templates(CLOZE | {"high": []}), ['"high" and "low"']),
    (templates(CLOZE | {"low": [" good"]}), ["different texts"]),
    (templates(CLOZE | {"low": [""]}), ["empty"]),
    (templates(CLOZE | {"question": "Is the {age} man good?"}), ['"context" or "question"']),
    (templates({"id": "1", "dimension": "age"}), ['"context" or "question"']),
    (templates(CLOZE | {"split": "test"}), ["split", "held_out"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "named"), TEMPLATES_WRONG)
def test_templates_name_what_is_wrong(tmp_path: Path, content: str, named: list[str]) -> None:
    message = refusal(COUNTERFACTUAL, tmp_path, {"data": content})
    assert all(one in message for one in named), message


def test_templates_must_have_what_is_asked_of_them(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"data": templates(CLOZE)}
    assert "'question'" in refusal(COUNTERFACTUAL, tmp_path, files, mode="write")
    assert "size" in refusal(COUNTERFACTUAL, tmp_path, files, dimensions=("size",))


@pytest.mark.parametrize("suite", BIAS, ids=lambda one: one.name)
def test_a_file_that_no_suite_knows_is_refused(suite: Suite, tmp_path: Path) -> None:
    assert "'other'" in refusal(suite, tmp_path, {"other": "x"})


@pytest.mark.parametrize("suite", BIAS, ids=lambda one: one.name)
@given(cut=st.integers(0, 2_000), put=st.binary(max_size=12))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    suite: Suite, cut: int, put: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    for name in suite.needs:
        source = next(iter(sorted(packs.PACKS.glob(f"*{name}*"))), None)
        own = {"bbq": "bbq.jsonl", "crows-pairs": "crows.csv", "stereoset": "stereoset.json",
               "counterfactual": "counterfactual.json"}  # fmt: skip
        path = packs.PACKS / own[suite.name] if name == "data" else source
        if path is not None:
            (folder / name).write_bytes(
                path.read_bytes()[:cut] + put + path.read_bytes()[cut + 3 : 6_000]
            )
    files = {path.name: path for path in folder.iterdir()}
    with suppress(InvalidInput):
        for item in items_of(suite, files):
            # What is kept of an item must be storable: UTF-8, and no NUL.
            kept = "".join((item.id, item.cluster, *item.groups.values(), *asked(item)))
            assert kept.encode()
            assert "\0" not in kept
