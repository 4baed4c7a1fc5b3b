"""A Hugging Face model as Penstock's classifier: `PENSTOCK_CLASSIFIER=examples.classifier:huggingface`

CLASSIFIER_FOLDER names a local folder of a sequence classifier with independent labels (such as a copy of
unitary/toxic-bert); nothing is downloaded. Its labels become categories, "toxic" becomes "toxicity".
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from core.classifiers.classifier import Card
from core.errors import Unavailable

RENAMED = {"toxic": "toxicity"}
LONGEST = 512


class HuggingFace:
    """See core.classifiers.classifier.Classifier."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True
        )
        self._model.eval()
        labels = self._model.config.id2label
        self.categories = tuple(RENAMED.get(labels[at], labels[at]) for at in range(len(labels)))
        self.digest = digest(folder)
        self.name = f"{folder.name}@{self.digest[:12]}"
        # Measure it on lines of yours with core.classifiers.measuring and give its card here: without measured
        # figures nothing that it counts can be corrected.
        thresholds = dict.fromkeys(self.categories, 0.5)
        self.card = Card(name=self.name, digest=self.digest, thresholds=thresholds)

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Raises Unavailable: a score that stood for an error would read "harmless"."""
        if not texts:
            return []
        try:
            given = self._tokenizer(
                list(texts),
                padding=True,
                truncation=True,
                max_length=LONGEST,
                return_tensors="pt",
            )
            with torch.inference_mode():
                found = torch.sigmoid(self._model(**given).logits).tolist()
        except (RuntimeError, IndexError) as error:
            raise Unavailable(f"The classifier {self.name} failed: {error}") from error
        return [dict(zip(self.categories, one, strict=True)) for one in found]


def digest(folder: Path) -> str:
    """sha256 over the names and bytes of all files: weights, labels and tokenizer."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        whole.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def huggingface() -> HuggingFace:
    return HuggingFace(Path(os.environ["CLASSIFIER_FOLDER"]))
