"""What a fine-tuning job says to people: each event as one sentence."""

from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]
_PHASES = {
    "fetching": "Fetching the dataset",
    "validating": "Validating files",
    "preparing": "Preparing the training",
    "reading": "Reading the training file",
    "filtering": "Filtering the examples",
    "tokenising": "Turning the examples into tokens",
    "packing": "Packing the examples into rows",
    "estimating": "Estimating memory and time",
    "loading": "Loading the model",
    "compiling": "Compiling DeepSpeed's kernels; only the first job on a machine waits for it",
    "training": "Training begins",
    "saving": "Saving the model",
    "registering": "Registering the model",
}


def told(kind: str, data: Data) -> tuple[str, str]:
    """The level (info, warn, error) and the sentence of an event of the job's log."""
    say = _SAID.get(kind)
    level = _LEVELS.get(kind, "info")
    return level, say(data) if say is not None else f"{kind}: {_plain(data)}"


def number(value: Any, digits: int = 4) -> str:
    """1.2346, 0.001, 1.5e-05, 12,345: short, and never rounded to nothing."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 5 min: two units, as one says it."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _metrics(data: Data) -> str:
    of = f"/{data['total_steps']}" if data.get("total_steps") else ""
    parts = []
    for name, said in (
        ("train_loss", "training loss"),
        ("loss", "training loss"),
        ("valid_loss", "validation loss"),
    ):
        if data.get(name) is not None:
            parts.append(f"{said} {number(data[name])}")
    accuracy = data.get("valid_token_accuracy", data.get("valid_mean_token_accuracy"))
    if accuracy is not None:
        parts.append(f"token accuracy {100 * accuracy:.1f} %")
    if data.get("learning_rate") is not None:
        parts.append(f"learning rate {number(data['learning_rate'], 3)}")
    if data.get("tokens_per_s"):
        parts.append(f"{data['tokens_per_s']:,.0f} tokens/s")
    if data.get("eta_s"):
        parts.append(f"{duration(data['eta_s'])} left")
    return f"Step {data.get('step')}{of}: {', '.join(parts) or 'done'}"


def _checkpoint(data: Data) -> str:
    return f"Checkpoint saved at step {data.get('step')}"


def _progress(data: Data) -> str:
    """An event of this type may carry more than the phase: what it found out says more."""
    if data.get("data"):
        return _report(data["data"])
    if data.get("estimate"):
        return _estimate(data["estimate"])
    if data.get("message"):
        return str(data["message"])
    phase = str(data.get("phase", ""))
    return _PHASES.get(phase, phase.capitalize() or "It goes on")


def _problem(data: Data) -> str:
    where = " ".join(
        part
        for part in (
            str(data.get("file") or ""),
            f"line {data['line']}" if data.get("line") is not None else "",
        )
        if part
    )
    field = f" {data['field']}" if data.get("field") else ""
    return f"{where or 'The file'}:{field} {data.get('message', '')}".strip()


def _report(data: Data) -> str:
    # Reports of a train and a validation part stand side by side; the first is what people ask about.
    rows = data.get("rows") or {}
    read, kept = rows.get("read"), rows.get("kept")
    parts = []
    if kept is not None:
        of = f" of {number(read)}" if read not in (None, kept) else ""
        parts.append(f"{number(kept)}{of} examples")
    if data.get("tokens") is not None:
        parts.append(f"{number(data['tokens'])} tokens")
    if data.get("learned_tokens") is not None:
        parts.append(f"{number(data['learned_tokens'])} of them to learn")
    return f"The files are valid: {', '.join(parts)}" if parts else "The files are valid"


def _estimate(data: Data) -> str:
    parts = []
    if data.get("memory_bytes"):
        parts.append(f"{data['memory_bytes'] / 2**30:.2f} GiB of memory")
    if data.get("seconds"):
        parts.append(f"about {duration(data['seconds'])}")
    return f"Estimated: {', '.join(parts)}" if parts else "Estimated"


def _failed(data: Data) -> str:
    error = data.get("error") or {}
    return f"The job failed: {error.get('message', 'no reason was given')}"


def _succeeded(data: Data) -> str:
    model = (data.get("result") or {}).get("model")
    return f"New fine-tuned model created: {model}" if model else "The job succeeded"


def _requeued(data: Data) -> str:
    why = _REASONS.get(str(data.get("reason")), "Given back to the queue")
    return f"{why}; it goes on from its last checkpoint"


_REASONS = {
    "retry": "The attempt failed and is made again",
    "worker_lost": "Its worker was lost",
    "lease_expired": "Its worker fell silent",
    "released": "Its worker is shut down",
    "paused": "Saved and set aside",
    "preempted": "It gives way to a job of higher priority",
}


def _plain(data: Data) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in data.items()) or "no details"


_SAID: dict[str, Callable[[Data], str]] = {
    "job.queued": lambda _: "Created fine-tuning job",
    "job.started": lambda _: "A worker took the job",
    "job.requeued": _requeued,
    "job.paused": lambda _: "Paused: a checkpoint is kept, and nothing runs until it is resumed",
    "job.resumed": lambda _: "Resumed: it waits for a worker",
    "job.succeeded": _succeeded,
    "job.failed": _failed,
    "job.cancelled": lambda _: "The job was cancelled",
    "job.expired": lambda _: "The job's completion_window ended before it did",
    "progress": _progress,
    "metrics": _metrics,
    "checkpoint": _checkpoint,
    "problem": _problem,
}
_LEVELS = {
    "problem": "error",
    "job.failed": "error",
    "job.expired": "error",
    "job.requeued": "warn",
}
