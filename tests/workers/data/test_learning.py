"""What is learned: the assistant's words with their end mark, found in templates of every kind."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.tokenizer import Text
from core.config import MODEL_FOLDER
from core.errors import InvalidInput, Refused
from core.jobs.messages import Message, for_template
from tests.workers.data.conftest import Run, chat
from workers.data import learning
from workers.data.learning import documents, preference, spoken

TURN = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|eos|>\n{% endfor %}"
ASK = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
TEMPLATES = {
    # As ChatML: a line end behind the end mark, which nobody generates.
    "turns": TURN + ASK,
    "marked": TURN.replace(
        "{{ m.content }}<|eos|>",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|eos|>{% endgeneration %}"
        "{% else %}{{ m.content }}<|eos|>{% endif %}{{ '' }}",
    ) + ASK,
    # As those of thinking models: only the last answer has its thoughts.
    "thinking": "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<|eos|>\n{% endfor %}"
    + ASK,
    # No marks that stand alone: the answer's first token may swallow what is before it.
    "plain": "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}",
}  # fmt: skip
TALK = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "See you"},
    ]
}


@pytest.fixture
def templated(tmp_path: Path) -> Any:
    def made(template: str | None, **config: Any) -> Text:
        shutil.copy(MODEL_FOLDER / "tokenizer.json", tmp_path)
        told = {"eos_token": "<|eos|>", "bos_token": "<|bos|>"} | config
        if template is not None:
            told["chat_template"] = template
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
        return Text(str(tmp_path))

    return made


def learned(text: Text, document: learning.Document) -> list[str]:
    """The runs of learned tokens as text, marks included."""
    runs: list[bytes] = []
    before = 0
    for token, loss in zip(document.ids, document.loss, strict=True):
        if loss and not before:
            runs.append(b"")
        if loss:
            runs[-1] += text.piece(token)
        before = loss
    return [run.decode() for run in runs]


def test_the_shipped_models_answers_are_learned_with_their_end(text: Text) -> None:
    (document,) = documents(TALK, text)
    assert learned(text, document) == ["Hello there<|eos|>", "See you<|eos|>"]
    whole = b"".join(map(text.piece, document.ids)).decode()
    assert whole == text.render(spoken(TALK), ask=False)


@pytest.mark.parametrize("name", ["turns", "marked"])
def test_answers_are_found_in_a_template(templated: Any, name: str) -> None:
    text = templated(TEMPLATES[name])
    (document,) = documents(TALK, text)
    assert learned(text, document) == ["Hello there<|eos|>", "See you<|eos|>"]


def test_marks_of_a_template_are_not_in_what_the_model_is_asked(templated: Any) -> None:
    marked, turns = templated(TEMPLATES["marked"]), templated(TEMPLATES["turns"])
    assert marked.chat(spoken(TALK)) == turns.chat(spoken(TALK))


@pytest.mark.parametrize("name", ["turns", "marked", "thinking"])
def test_an_answer_of_weight_0_is_not_learned(templated: Any, name: str) -> None:
    text = templated(TEMPLATES[name])
    row = json.loads(json.dumps(TALK))
    row["messages"][2]["weight"] = 0
    (document,) = documents(row, text)
    (said,) = learned(text, document)
    assert said.endswith("See you<|eos|>")


def test_a_template_that_drops_earlier_thoughts_gives_a_document_for_each_answer(
    templated: Any,
) -> None:
    text = templated(TEMPLATES["thinking"])
    first, second = documents(TALK, text)
    assert learned(text, first) == ["<think></think>Hello there<|eos|>"]
    assert learned(text, second) == ["<think></think>See you<|eos|>"]
    # Each in the place in which the model will be asked for it.
    asked = text.chat(spoken(TALK)[:4])
    assert second.ids[: len(asked)] == asked
    assert not any(second.loss[: len(asked)])


def test_no_token_is_half_question_and_half_answer(templated: Any) -> None:
    text = templated(TEMPLATES["plain"])
    row = chat("Hi", ":-) yes")
    (document,) = documents(row, text)
    asked = text.chat(spoken(row)[:1])
    assert document.ids[: len(asked)] == asked
    assert learned(text, document) == [":-) yes\n"]


def test_a_template_in_which_answers_cannot_be_found_is_refused(templated: Any, run: Run) -> None:
    text = templated(
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}?{% endif %}"
    )
    with pytest.raises(Refused, match=re.escape("Put {% generation %}")) as refused:
        documents(TALK, text)
    assert refused.value.code == "chat_template_unsupported"


def test_a_template_that_marks_too_little_is_refused(templated: Any) -> None:
    text = templated(
        "{% for m in messages %}{{ m.content }}{% endfor %}{% generation %}{% endgeneration %}"
    )
    with pytest.raises(Refused, match="marks 1 answers in a conversation that has 2"):
        documents(TALK, text)


def test_what_a_template_refuses_is_a_problem_of_its_row(
    run: Run, templated: Any, tmp_path: Path
) -> None:
    templated(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + TEMPLATES["turns"]
    )
    ran = run([chat("Hi", "Hello"), TALK], tokenizer=str(tmp_path))
    ((line, field, message),) = ran.problems
    assert (line, field) == (2, "messages")
    assert "no system" in message


def test_tools_reach_a_template_that_takes_them(templated: Any) -> None:
    row = TALK | {"tools": [{"type": "function", "function": {"name": "look"}}]}
    with_tools = templated(
        "{% if tools %}<|system|>{{ tools[0].function.name }}{% endif %}" + TEMPLATES["turns"]
    )
    (document,) = documents(row, with_tools)
    assert b"look" in b"".join(map(with_tools.piece, document.ids))
    without = templated(TEMPLATES["turns"])
    (document,) = documents(row, without)
    assert b"look" not in b"".join(map(without.piece, document.ids))


CALLING = [
    {"role": "user", "content": "Look"},
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": [1]}'}}]},
    {"role": "tool", "tool_call_id": "c", "content": "a tree"},
    {"role": "assistant", "content": "A tree"},
]  # fmt: skip


def test_messages_are_rendered_as_they_are_when_the_model_is_asked() -> None:
    asked = for_template([Message.model_validate(m) for m in CALLING])
    assert spoken({"messages": CALLING}) == asked


def test_a_prompt_without_a_template_goes_before_its_answer(templated: Any) -> None:
    text = templated(None)
    (document,) = documents({"prompt": "2 + 2 =", "completion": " 4"}, text)
    assert learned(text, document) == [" 4<|eos|>"]
    assert document.ids[: len(text.encode("2 + 2 ="))] == text.encode("2 + 2 =")
    with pytest.raises(InvalidInput, match="no chat template"):
        documents(TALK, text)


def test_of_a_text_everything_is_learned_but_what_begins_it(text: Text) -> None:
    (document,) = documents({"text": "Once upon a time"}, text)
    assert document.ids == [*text.encode("Once upon a time"), text.end]
    assert list(document.loss) == [0] + [1] * (len(document.ids) - 1)


@pytest.mark.parametrize("template", ["turns", "marked", "plain", None])
def test_of_a_preference_both_answers_follow_the_same_prompt(
    templated: Any, template: str | None
) -> None:
    text = templated(TEMPLATES[template] if template else None)
    pair = preference({"prompt": "Hi", "chosen": "Hello", "rejected": ": no"}, text)
    asked = (
        text.encode("Hi") if template is None else text.chat([{"role": "user", "content": "Hi"}])
    )
    assert pair.prompt == asked
    end = "\n" if template == "plain" else "<|eos|>"
    assert b"".join(map(text.piece, pair.chosen)).decode() == f"Hello{end}"
    assert b"".join(map(text.piece, pair.rejected)).decode() == f": no{end}"


CONTENT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufdd0\ufdd1"), max_size=30
)
TURNS = st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3)


@given(turns=TURNS, name=st.sampled_from(["turns", "marked", "plain"]))
def test_ids_spell_the_conversation_and_only_answers_are_learned(
    turns: list[tuple[str, str]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = _text(name, tmp_path_factory)
    messages = [
        {"role": role, "content": said}
        for pair in turns
        for role, said in zip(("user", "assistant"), pair, strict=True)
    ]
    (document,) = documents({"messages": messages}, text)
    assert b"".join(map(text.piece, document.ids)).decode() == text.render(
        messages, ask=False
    ).translate({0xFDD0: None, 0xFDD1: None})
    end = "\n" if name == "plain" else "<|eos|>"
    wanted = "".join(answer + end for _, answer in turns)
    assert "".join(learned(text, document)) == wanted


_TEXTS: dict[str, Text] = {}


def _text(name: str, places: pytest.TempPathFactory) -> Text:
    if name not in _TEXTS:
        folder = places.mktemp(name)
        shutil.copy(MODEL_FOLDER / "tokenizer.json", folder)
        told = {"chat_template": TEMPLATES[name], "eos_token": "<|eos|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
        _TEXTS[name] = Text(str(folder))
    return _TEXTS[name]


def test_rows_that_are_too_long_are_cut_while_something_is_learned(run: Run) -> None:
    rows = [chat("Hi", "a b c " * 40), chat("word " * 200, "x"), chat("Hi", "Hello")]
    part = run(rows, max_length=64).report["train"]
    assert part["truncated"] == {
        "rows": 1, "examples": [{"file": "train.jsonl", "line": 1, "why": part["truncated"]["examples"][0]["why"]}],
    }  # fmt: skip
    assert part["too_long"]["rows"] == 1
    assert part["too_long"]["examples"][0]["line"] == 2
    assert part["documents"] == 2
    assert part["longest"] == 64


def test_a_text_that_is_too_long_is_several(run: Run, text: Text) -> None:
    said = "one two three four five " * 60
    part = run([{"text": said}], max_length=64).report["train"]
    assert part["tokens"] == len(text.encode(said)) + 1
    assert part["truncated"]["rows"] == 0


def test_when_nothing_is_left_to_learn_it_is_an_error(run: Run) -> None:
    ran = run([chat("word " * 200, "x")], max_length=16)
    assert ran.last["code"] == "no_rows_left"
    assert "1 rows are longer than max_length 16" in ran.last["message"]


def test_preferences_that_are_too_long_are_cut_while_they_differ(run: Run) -> None:
    rows = [
        {"prompt": "Hi", "chosen": "a " * 99, "rejected": "b"},
        {"prompt": "Hi", "chosen": "a " * 99 + "b", "rejected": "a " * 99 + "c"},
        {"prompt": "Hi " * 99, "chosen": "a", "rejected": "b"},
    ]
    ran = run(rows, method="dpo", max_length=32)
    part = ran.report["train"]
    assert (part["documents"], part["truncated"]["rows"], part["too_long"]["rows"]) == (1, 1, 2)
    assert part["longest"] == 32
