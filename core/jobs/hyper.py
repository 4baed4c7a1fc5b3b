"""What "auto" comes to, once the data are known. Pure: the same job resolves to the same numbers in every attempt."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from core.jobs.finetune import Hyperparameters, Method

# Updates that a narrow task takes to be learned, and in one pass, whatever their size: measured on the shipped model
# (docs/training.md), where the same data in half as many updates stay at two thirds of the accuracy.
STEPS, STEPS_A_PASS = 500, 250
MIN_EPOCHS, MAX_EPOCHS = 2, 10
# The learning rate of LoRA at a width of 2000; it falls as models get wider, and above MAX_RATE small ones diverge.
RATE, WIDTH, FALL, MAX_RATE = 5e-4, 2000, 0.78, 2.5e-3
# Below so many bytes of data a pass of packed rows would be a handful of updates: each document gets its own row.
PACK_FROM_BYTES = 16 * 2**20
LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Data:
    """What the pipeline made: `rows` to train on as they are batched (packed), and the `tokens` in them."""

    rows: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """Numbers only; `total_steps` of all epochs together."""

    epochs: int
    max_steps: int | None
    total_steps: int
    batch_size: int
    micro_batch: int
    learning_rate: float
    schedule: str
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    beta: float
    eval_every: int
    checkpoint_every: int
    checkpointing: bool
    early_stopping: dict[str, float] | None

    def plan(self) -> dict[str, Any]:
        """As the trainer reads it, which counts the steps itself."""
        return {name: value for name, value in asdict(self).items() if name != "total_steps"}


def length(hyper: Hyperparameters, context: int) -> int:
    """Tokens of the longest row that is trained on."""
    return min(LENGTH if hyper.max_length == "auto" else hyper.max_length, context)


def packed(method: Method, data_bytes: int) -> bool:
    """Whether several documents share a row: when there are many of them, and never of pairs."""
    wish = method.hyperparameters.packing
    many = data_bytes >= PACK_FROM_BYTES if wish == "auto" else wish
    return method.type == "supervised" and many


def resolved(method: Method, data: Data, width: int) -> Resolved:
    """`width`: of the base model's layers; narrow ones need and bear higher rates."""
    hyper = method.hyperparameters
    batch = _batch(hyper, data)
    a_pass = math.ceil(data.rows / batch)
    epochs = _epochs(hyper, a_pass)
    total = min(a_pass * epochs, hyper.max_steps or math.inf)
    every = max(1, round(total / 10))
    patience = hyper.early_stopping_patience
    rank = 16 if hyper.lora_rank == "auto" else hyper.lora_rank
    return Resolved(
        epochs=epochs,
        max_steps=hyper.max_steps,
        total_steps=int(total),
        batch_size=batch,
        micro_batch=min(batch, 8) if hyper.micro_batch_size == "auto" else hyper.micro_batch_size,
        learning_rate=_rate(method, width),
        schedule="cosine" if hyper.schedule == "auto" else hyper.schedule,
        warmup_ratio=0.05 if hyper.warmup_ratio == "auto" else hyper.warmup_ratio,
        weight_decay=hyper.weight_decay,
        max_grad_norm=hyper.max_grad_norm,
        lora_rank=rank,
        lora_alpha=32.0 if hyper.lora_alpha == "auto" else hyper.lora_alpha,
        lora_dropout=hyper.lora_dropout,
        beta=0.1 if hyper.beta == "auto" else hyper.beta,
        eval_every=every if hyper.eval_every == "auto" else hyper.eval_every,
        checkpoint_every=every if hyper.checkpoint_every == "auto" else hyper.checkpoint_every,
        checkpointing=hyper.gradient_checkpointing,
        early_stopping=None
        if patience is None
        else {"patience": patience, "min_delta": hyper.early_stopping_min_delta},
    )


def _batch(hyper: Hyperparameters, data: Data) -> int:
    wished = (
        max(4, min(data.rows // STEPS_A_PASS, 64))
        if hyper.batch_size == "auto"
        else hyper.batch_size
    )
    return max(1, min(wished, data.rows))


def _epochs(hyper: Hyperparameters, a_pass: int) -> int:
    if hyper.n_epochs != "auto":
        return hyper.n_epochs
    return max(MIN_EPOCHS, min(math.ceil(STEPS / a_pass), MAX_EPOCHS))


def _rate(method: Method, width: int) -> float:
    hyper = method.hyperparameters
    if hyper.learning_rate != "auto":
        rate = hyper.learning_rate
    else:
        rate = min(RATE * (WIDTH / width) ** FALL, MAX_RATE)
        rate *= 0.1 if method.tuning == "full" else 1.0
        # Preferences move a model that can do the task already.
        rate *= 0.1 if method.type == "dpo" else 1.0
    multiplier = hyper.learning_rate_multiplier
    return float(f"{rate if multiplier == 'auto' else rate * multiplier:.3g}")
