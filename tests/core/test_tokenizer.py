"""Text to tokens and back without torch, and chat templates in their sandbox."""

import json
import shutil
from pathlib import Path

import pytest

from core.catalog import tokenizer
from core.config import MODEL_FOLDER
from core.errors import InvalidInput, Refused

SAID = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model folder with a tokenizer and nothing else."""
    shutil.copy(MODEL_FOLDER / "tokenizer.json", tmp_path)
    return tmp_path


def _templated(place: Path, template: str) -> tokenizer.Text:
    (place / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return tokenizer.Text(str(place))


@pytest.mark.parametrize("said", ["The river", "déjà vu ☃ 𝄞", "a\nb\t c  ", "", "[error] <x>"])
def test_what_is_encoded_decodes_to_itself(said: str) -> None:
    text = tokenizer.load(str(MODEL_FOLDER))
    assert text.decode(text.encode(said, special=False)) == said


def test_a_model_is_read_once_a_process() -> None:
    assert tokenizer.load(str(MODEL_FOLDER)) is tokenizer.load(str(MODEL_FOLDER))


def test_a_folder_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"tokenizer\.json"):
        tokenizer.Text(str(tmp_path))


def test_without_a_template_messages_are_refused(place: Path) -> None:
    with pytest.raises(InvalidInput, match="no chat template") as refused:
        tokenizer.Text(str(place)).chat(SAID)
    assert refused.value.param == "messages"


def test_a_template_file_goes_before_the_one_in_the_configuration(place: Path) -> None:
    (place / "chat_template.jinja").write_text("FILE {{ messages[0].content }}")
    text = _templated(place, "CONFIG")
    assert text.decode(text.chat(SAID)) == "FILE Hello"


def test_a_template_sees_marks_and_where_to_begin(place: Path) -> None:
    config = {
        "bos_token": "<B>",
        "eos_token": {"content": "<E>"},
        "chat_template": "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}"
        "{% if add_generation_prompt %}>{% endif %}",
    }
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    text = tokenizer.Text(str(place))
    assert text.decode(text.chat(SAID)) == "<B>Hello<E>>"
    assert tokenizer.prompt_ids(text, {"messages": SAID}) == text.chat(SAID)
    assert tokenizer.prompt_ids(text, {"messages": None, "prompt": "x"}) == text.encode("x")


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.nothing.at.all }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for x in range(10 ** 12) %}{% endfor %}",
    ],
)
def test_a_template_that_refuses_or_reaches_out_is_an_error_of_the_input(
    place: Path, template: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        _templated(place, template).chat(SAID)
    assert refused.value.param == "messages"


def test_pieces_are_the_bytes_of_a_text() -> None:
    text = tokenizer.load(str(MODEL_FOLDER))
    for said in ("The river", "déjà vu ☃ 𝄞", "a\nb\t c  "):
        ids = text.encode(said, special=False)
        assert b"".join(map(text.piece, ids)) == said.encode()
    assert text.piece(text.size) == b""
    assert text.piece(text.encode("")[0] if text.encode("") else 0)


def test_a_template_that_takes_tools_says_so(place: Path) -> None:
    template = "{% if tools %}{{ tools[0].function.name }}{% endif %}{{ messages[0].content }}"
    text = _templated(place, template)
    assert text.takes_tools
    assert text.decode(text.chat(SAID, [{"function": {"name": "f "}}])) == "f Hello"
    assert not tokenizer.load(str(MODEL_FOLDER)).takes_tools
