"""A model's digest is that of what it says anything with, wherever its folder is."""

import shutil
from pathlib import Path

import pytest

from core.catalog.digest import digest_of
from core.config import MODEL_FOLDER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL_FOLDER, tmp_path / "copy"))


def test_the_same_files_elsewhere_are_the_same_model(folder: Path) -> None:
    before = digest_of(str(MODEL_FOLDER))
    assert len(before) == 64
    (folder / "README.md").write_text("What is said of a model is not the model.")
    assert digest_of(str(folder)) == before


@pytest.mark.parametrize("pattern", ["*.safetensors", "config.json", "tokenizer.json"])
def test_one_byte_more_is_another_model(folder: Path, pattern: str) -> None:
    (path,) = folder.glob(pattern)
    with path.open("ab") as file:
        file.write(b" ")
    assert digest_of(str(folder)) != digest_of(str(MODEL_FOLDER))


def test_a_file_under_another_name_is_another_model(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokens.json")
    assert digest_of(str(folder)) != digest_of(str(MODEL_FOLDER))


def test_a_hub_id_whose_files_are_not_here_has_none() -> None:
    assert digest_of("nobody/no-such-model") == ""
