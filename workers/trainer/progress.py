"""What a run has reached: tokens, losses, the best validation; kept in each checkpoint."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workers.trainer.checkpoints import PROGRESS
from workers.trainer.plan import EarlyStopping


@dataclass
class Unlogged:
    """What the steps since `step`, which was logged last, have summed up: with log_every above 1."""

    step: int
    loss: float
    right: int
    learned: int


@dataclass
class Progress:
    """`tokens` are all that the model read in training, learned and context alike, padding excepted."""

    tokens: int = 0
    train_loss: float | None = None
    train_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_token_accuracy: float | None = None
    best_step: int | None = None
    best_loss: float | None = None
    best_token_accuracy: float | None = None
    # Validations in a row that were no better.
    waited: int = 0
    unlogged: Unlogged | None = None

    def validated(
        self, step: int, loss: float, accuracy: float | None, early: EarlyStopping | None
    ) -> bool:
        """Record a validation; returns whether it is the best so far."""
        self.valid_loss, self.valid_token_accuracy = loss, accuracy
        best = self.best_loss
        enough = best is None or loss < best - (early.min_delta if early else 0.0)
        self.waited = 0 if enough else self.waited + 1
        if best is not None and loss >= best:
            return False
        self.best_step, self.best_loss, self.best_token_accuracy = step, loss, accuracy
        return True

    def metrics(self) -> dict[str, float]:
        """Of the last step, under the names of OpenAI's checkpoints."""
        known = {
            "train_loss": self.train_loss,
            "train_mean_token_accuracy": self.train_token_accuracy,
            "valid_loss": self.valid_loss,
            "valid_mean_token_accuracy": self.valid_token_accuracy,
        }
        return {name: value for name, value in known.items() if value is not None}


def save(progress: Progress, folder: Path) -> None:
    (folder / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n")


def load(folder: Path) -> Progress:
    known = json.loads((folder / PROGRESS).read_text())
    unlogged = known.pop("unlogged")
    return Progress(**known, unlogged=Unlogged(**unlogged) if unlogged else None)
