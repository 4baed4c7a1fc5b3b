"""What ends a run, in the client's words: a code, what happened, and what to do."""

import errno
import re
from typing import NamedTuple

from workers.trainer.checkpoints import CheckpointCorrupt
from workers.trainer.plan import Plan


class NotFinite(Exception):
    """A loss or a gradient is no number any more."""


class Unsupported(Exception):
    """The trainer cannot train this model, or not in this way; the message is for the client."""


class Fault(NamedTuple):
    code: str
    message: str
    setting: dict[str, object] | None = None


# Quotas and file size limits are a full disk to whoever writes.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How torch.save, safetensors and DeepSpeed's writer say the same.
_FULL_TEXT = re.compile(
    r"No space left on device|File too large|Disk quota exceeded|os error (?:28|27|122)"
    r"|PytorchStreamWriter failed writing|inline_container.*(?:unexpected pos|enforce fail)"
)
_MEMORY_TEXT = re.compile(
    r"out of memory|can't allocate memory|Cannot allocate memory", re.IGNORECASE
)


def of(error: BaseException, plan: Plan) -> Fault | None:
    """None when it is none of these: then another attempt may do better."""
    for one in _chain(error):
        text = str(one)
        match one:
            case NotFinite():
                return Fault(
                    "nan_loss", _nan(text, plan), {"learning_rate": plan.hyper.learning_rate / 2}
                )
            case CheckpointCorrupt():
                return Fault(
                    "checkpoint_corrupt", f"{text}. Continue from the checkpoint before it."
                )
            case Unsupported():
                return Fault("model_unsupported", text)
            case OSError(errno=number) if number in _FULL:
                return _full(one)
        if isinstance(one, MemoryError) or (
            isinstance(one, RuntimeError) and _MEMORY_TEXT.search(text)
        ):
            return _memory(plan)
        if _FULL_TEXT.search(text):
            return _full(one)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and what it came from: torch closes its archive on the way out, and fails once more."""
    found: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in found:
        found.append(now)
        now = now.__cause__ or now.__context__
    return found


def _nan(what: str, plan: Plan) -> str:
    advice = f"Lower learning_rate (it is {plan.hyper.learning_rate:g}), or raise warmup_ratio"
    if plan.precision == "float16":
        advice += ", or train in bfloat16, whose range is wider"
    return f"{what}. {advice}. The last checkpoint before it is kept."


def _full(error: BaseException) -> Fault:
    return Fault(
        "disk_full",
        f"The worker's disk is full: {error}. The checkpoints before it are kept. Make room in "
        "PENSTOCK_TRAINING_DIR, or ask for fewer checkpoints (checkpoint_every).",
    )


def _memory(plan: Plan) -> Fault:
    """The nearest setting that needs less; each costs only time until the last two."""
    hyper = plan.hyper
    setting: dict[str, object]
    if hyper.micro_batch > 1:
        half = hyper.micro_batch // 2
        how, setting = (
            f"a micro batch of {half} (the batch stays {hyper.batch_size})",
            {"micro_batch": half},
        )
    elif not hyper.checkpointing:
        how, setting = "gradient checkpointing", {"checkpointing": True}
    elif plan.tuning == "full":
        how, setting = "LoRA, or a DeepSpeed preset with offload", {"tuning": "lora"}
    else:
        how, setting = (
            "a smaller max_length, or a DeepSpeed preset with offload",
            {"max_length": "smaller"},
        )
    return Fault(
        "out_of_memory",
        f"Out of memory with a micro batch of {hyper.micro_batch} rows. The nearest setting that needs less: {how}.",
        setting,
    )
