"""Small prepared data sets, as workers.data leaves them, and plans of the trainer over them."""

import json
import random
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk
from transformers import AutoTokenizer, PreTrainedTokenizerBase

RILL = Path(__file__).parents[1] / "core" / "model" / "rill"
HYPER = {
    "epochs": 2, "max_steps": None, "batch_size": 4, "micro_batch": 2, "learning_rate": 1e-3, "warmup_ratio": 0.1,
    "schedule": "cosine", "weight_decay": 0.0, "max_grad_norm": 1.0, "lora_rank": 4, "lora_alpha": 8,
    "lora_dropout": 0.1, "lora_targets": "all-linear", "beta": 0.1, "eval_every": 4, "checkpoint_every": 2,
    "log_every": 1, "early_stopping": None,
}  # fmt: skip


def _document(words: PreTrainedTokenizerBase, number: int) -> tuple[list[int], list[int]]:
    """A question and its answer; only the answer and its end are learned."""
    colour = ("red", "green", "blue")[number % 3]
    asked = [words.bos_token_id, *words.encode("Which colour? " * (1 + number % 4) + str(number))]
    said = [*words.encode(f"Number {number} is {colour}."), words.eos_token_id]
    return asked + said, [0] * len(asked) + [1] * len(said)


def supervised(folder: Path, rows: int = 16, validation: int = 4, *, packed: bool = False) -> Path:
    """Saves the splits under `folder`; returns it."""
    words = AutoTokenizer.from_pretrained(str(RILL))
    chance = random.Random(5)
    for split, count in (("train", rows), ("validation", validation)):
        made = []
        for _ in range(count):
            documents = [
                _document(words, chance.randrange(1000)) for _ in range(3 if packed else 1)
            ]
            made.append({
                "input_ids": [token for ids, _ in documents for token in ids],
                "loss": [learned for _, marks in documents for learned in marks],
                "segments": [len(ids) for ids, _ in documents],
            })  # fmt: skip
        if made:
            Dataset.from_list(made).save_to_disk(str(folder / split))
    return folder


def preferences(folder: Path, rows: int = 12, validation: int = 4) -> Path:
    words = AutoTokenizer.from_pretrained(str(RILL))
    for split, count in (("train", rows), ("validation", validation)):
        made = [{
            "prompt_ids": [words.bos_token_id, *words.encode(f"Which colour is {n}?")],
            "chosen_ids": [*words.encode(" Blue, as always."), words.eos_token_id],
            "rejected_ids": [*words.encode(" No idea."), words.eos_token_id],
        } for n in range(count)]  # fmt: skip
        Dataset.from_list(made).save_to_disk(str(folder / split))
    return folder


def plan(folder: Path, data: Path, *, resume: Path | None = None, hyper: dict[str, Any] | None = None,
         **changes: Any) -> Path:  # fmt: skip
    """Writes `folder`/plan.json."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "model": str(RILL), "start_from": None, "method": "supervised", "tuning": "lora", "data": str(data),
        "out": str(folder / "out"), "checkpoints": str(folder / "checkpoints"),
        "resume": str(resume) if resume else None, "hyper": HYPER | (hyper or {}), "dtype": "float32",
        "deepspeed": None, "seed": 7, "base_name": "rill",
    } | changes  # fmt: skip
    path = folder / "plan.json"
    path.write_text(json.dumps(asked))
    return path


def load(folder: Path) -> Any:
    """The columns of a split."""
    return load_from_disk(str(folder))[:]
