"""What one run of the trainer is asked for: the plan file, with nothing left to decide."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """End after `patience` validations in a row that were not better by more than `min_delta`."""

    patience: int
    min_delta: float = 0.0


@dataclass(frozen=True, slots=True)
class Hyper:
    """`batch_size` rows a step over all ranks, in micro batches of at most `micro_batch` rows a rank."""

    batch_size: int
    micro_batch: int
    learning_rate: float
    epochs: float = 1
    max_steps: int | None = None
    warmup_ratio: float = 0.0
    schedule: str = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    lora_rank: int = 16
    lora_alpha: float = 32
    lora_dropout: float = 0.0
    lora_targets: str | tuple[str, ...] = "all-linear"
    beta: float = 0.1
    eval_every: int = 20
    checkpoint_every: int = 20
    log_every: int = 1
    # Activations are computed again in the backward pass: slower, and much less memory.
    checkpointing: bool = False
    early_stopping: EarlyStopping | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`folder` holds the plan file, the logs, and the file `stop` once somebody asks for it."""

    folder: Path
    model: Path
    data: Path
    out: Path
    checkpoints: Path
    method: Literal["supervised", "dpo"]
    tuning: Literal["lora", "full"]
    hyper: Hyper
    dtype: Literal["float32", "bfloat16", "float16"]
    seed: int
    start_from: Path | None = None
    resume: Path | None = None
    deepspeed: dict[str, Any] | None = None
    base_name: str = ""

    @property
    def stop(self) -> Path:
        return self.folder / "stop"

    @property
    def precision(self) -> str:
        """What the arithmetic is done in: a DeepSpeed configuration says it itself."""
        if self.deepspeed is None:
            return self.dtype
        for section, name in (("fp16", "float16"), ("bf16", "bfloat16")):
            if self.deepspeed.get(section, {}).get("enabled"):
                return name
        return "float32"


def load(path: Path) -> Plan:
    """Raises TypeError or KeyError when a field is unknown or missing: a fault of the handler's, not the client's."""
    asked: dict[str, Any] = json.loads(path.read_text())
    hyper = dict(asked.pop("hyper"))
    early = hyper.pop("early_stopping", None)
    targets = hyper.pop("lora_targets", "all-linear")
    for name in ("model", "data", "out", "checkpoints", "start_from", "resume"):
        asked[name] = Path(asked[name]) if asked.get(name) else None
    return Plan(
        folder=path.resolve().parent,
        hyper=Hyper(
            **hyper,
            lora_targets=targets if isinstance(targets, str) else tuple(targets),
            early_stopping=EarlyStopping(**early) if early else None,
        ),
        **{"base_name": asked["model"].name, **asked},
    )
