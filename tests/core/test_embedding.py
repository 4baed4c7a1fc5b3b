"""The embedding kind: what may be asked, and what of it is refused by name."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.catalog import models, tokenizer
from core.catalog.models import MEASURES, Served
from core.config import MODEL_FOLDER, Settings
from core.errors import InvalidInput
from core.jobs import embedding
from core.jobs.embedding import EmbeddingSpec
from core.jobs.kinds import EmbeddingJob

TEXT = tokenizer.load(str(MODEL_FOLDER))
MODEL = Served("minilm", "folder", 256, kind=MEASURES, dimensions=384)
CUTS = Served("matryoshka", "folder", 256, kind=MEASURES, dimensions=384, truncates=True)
WRITER = Served("rill", "folder", 512)


@pytest.mark.parametrize(
    ("given", "several"),
    [("a", ["a"]), ([3, 4], [[3, 4]]), (["a", "b"], ["a", "b"]), ([[3], [4, 5]], [[3], [4, 5]])],
)
def test_one_input_or_several_are_a_list(given: Any, several: list[Any]) -> None:
    assert EmbeddingSpec(input=given).input == several


@pytest.mark.parametrize(
    "given",
    ["", [], [""], [[]], ["a", 3], [3, "a"], [[3, "a"]], [[-1]], [[True]], None, 7, ["a\x00"],
     ["a"] * 2049, [None], "x" * 1_000_001],
)  # fmt: skip
def test_what_is_no_text_and_no_token_ids_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        EmbeddingJob.model_validate({"kind": "embedding", "input": given})
    assert raised.value.errors()[0]["loc"] == ("input",)


def test_texts_are_counted_and_ids_taken_as_they_are() -> None:
    spec = EmbeddingSpec(input=["The river"])
    ids = TEXT.encode("The river")
    assert embedding.token_ids(spec, TEXT, 256) == [ids]
    assert embedding.token_ids(EmbeddingSpec(input=[ids]), TEXT, 256) == [ids]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([["word"] * 300], "input.0"),
        ([[1] * 300], "input.0 has 300 tokens; the model reads 256"),
        ([[1], [10**9]], "input.1: token 1000000000 is not in the vocabulary"),
        ([[1] * 200] * 1600, "at most 300000 at once"),
    ],
)
def test_what_the_model_cannot_read_is_refused_and_never_cut(given: Any, said: str) -> None:
    given = [" ".join(one) if isinstance(one[0], str) else one for one in given]
    with pytest.raises(InvalidInput, match=said) as raised:
        embedding.token_ids(EmbeddingSpec(input=given), TEXT, 256)
    assert raised.value.param == "input"


def test_dimensions_are_the_models_unless_it_was_trained_to_be_shortened() -> None:
    embedding.check(EmbeddingSpec(input="a", dimensions=384), MODEL)
    embedding.check(EmbeddingSpec(input="a", dimensions=64), CUTS)
    for wanted, model, said in ((64, MODEL, "cannot be shortened"), (385, CUTS, "at most that")):
        with pytest.raises(InvalidInput, match=said) as raised:
            embedding.check(EmbeddingSpec(input="a", dimensions=wanted), model)
        assert raised.value.param == "dimensions"


def test_a_model_is_found_only_for_the_jobs_it_is_for() -> None:
    settings = Settings(_env_file=None, embedding_model="some/minilm")
    both = [MODEL, WRITER]
    assert models.resolve("", both, settings, param="model") == WRITER
    assert models.resolve("", both, settings, param="model", kind=MEASURES) == MODEL
    assert models.resolve("minilm", both, settings, param="model", kind=None) == MODEL
    for name, kind in (("minilm", models.WRITES), ("rill", MEASURES)):
        with pytest.raises(InvalidInput) as raised:
            models.resolve(name, both, settings, param="model", kind=kind)
        assert raised.value.code == "model_not_suited"
        assert f"Models for it: {'rill' if name == 'minilm' else 'minilm'}" in raised.value.message
