"""examples/classifier.py plugs a Hugging Face model in, here one of random weights, without a network."""

from pathlib import Path

import pytest

from core.classifiers import listed
from core.classifiers.classifier import flagged
from core.classifiers.toxicity import toxicity
from core.errors import Unavailable

transformers = pytest.importorskip("transformers", reason="needs an extra with transformers")
torch = pytest.importorskip("torch", reason="needs an extra with torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "are", "kind", "a", "fool"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=16, id2label={0: "toxic", 1: "threat"},
        label2id={"toxic": 0, "threat": 1},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
    return tmp_path


def test_a_model_of_the_hub_is_a_classifier(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFIER_FOLDER", str(folder))
    found = listed.classifier("examples.classifier:huggingface")
    assert found.categories == ("toxicity", "threat")
    alone, together = found.scores(["you are a fool"]), found.scores(["you are a fool", "kind"])
    assert alone[0] == pytest.approx(together[0], abs=1e-5)
    assert toxicity(alone[0]) == alone[0]["toxicity"]
    assert set(flagged(found, alone[0])) <= set(found.categories)
    assert found.scores([]) == []
    # More tokens than it has places for: an error, and no score.
    with pytest.raises(Unavailable, match="failed"):
        found.scores(["you " * 100])
