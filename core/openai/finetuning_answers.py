"""A fine-tuning job, its events and checkpoints as OpenAI's clients read them, with what only ours has."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from core.errors import NotFound
from core.jobs.course import Told
from core.jobs.finetune import seed_of
from core.jobs.job import Job, State
from core.openai import finetuning_words
from core.training.tables import Checkpoint

PREFIX, EVENT = "ftjob-", "ftevent-"
_ID = re.compile(PREFIX + r"[0-9a-z]{26}")
# What OpenAI's own object shows at its top, whatever the method.
_TOP = ("batch_size", "learning_rate_multiplier", "n_epochs")
# What a job says of itself while it runs and after its end, and OpenAI's object has no field for.
_OURS = (
    "phase", "metrics", "validation", "checkpoint", "estimate", "data", "version", "steps", "best_step"
)  # fmt: skip


def finetuning_id(job_id: str) -> str:
    return PREFIX + job_id.removeprefix("job_")


def job_id(of: str) -> str:
    """Raises NotFound for what cannot be the id of a fine-tuning job."""
    if not _ID.fullmatch(of):
        raise missing(of)
    return "job_" + of.removeprefix(PREFIX)


def missing(of: str) -> NotFound:
    return NotFound(
        f"No fine-tuning job {of[:64]!r}. Check the id and the key's tenant.",
        param="fine_tuning_job_id",
        code="fine_tuning_job_not_found",
    )


def status(job: Job, found: Mapping[str, Any]) -> str:
    """OpenAI's six; a paused job is `queued`, one that is out of time `failed`."""
    match State(job.state):
        case State.EXPIRED:
            return "failed"
        case State.QUEUED if job.paused:
            return "queued"
        case State.QUEUED | State.RUNNING as state:
            return state.value if found.get("data") else "validating_files"
        case state:
            return state.value


def shown(job: Job, found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The job object. `found`: of core/jobs/course.py; `paused` and the fields below it are our own additions."""
    spec, told, hyper = job.spec, status(job, found), _hyper(job, found)
    eta_s = (found.get("metrics") or {}).get("eta_s") if told == "running" else None
    return {
        "id": finetuning_id(job.id),
        "object": "fine_tuning.job",
        "created_at": seconds(job.created_at),
        "error": _error(job),
        "fine_tuned_model": found.get("model") if told == "succeeded" else None,
        "finished_at": seconds(job.finished_at),
        "estimated_finish": seconds(now + timedelta(seconds=eta_s)) if eta_s is not None else None,
        "hyperparameters": {name: hyper.get(name, "auto") for name in _TOP},
        "method": _method(spec["method"]["type"], hyper),
        "model": job.model,
        "organization_id": job.tenant_id,
        "result_files": list(found.get("files") or ()),
        "seed": seed_of(job.id, spec.get("seed")),
        "status": told,
        "trained_tokens": found.get("trained_tokens") if told == "succeeded" else None,
        "training_file": spec.get("training_file") or spec.get("dataset"),
        "validation_file": spec.get("validation_file"),
        "integrations": [],
        "metadata": job.labels,
        "paused": job.paused,
        "pausing": job.pause_requested_at is not None and job.state == State.RUNNING,
        "suffix": spec.get("suffix"),
        "job": job.id,
        **{name: found.get(name) for name in _OURS},
    }


def _hyper(job: Job, found: Mapping[str, Any]) -> dict[str, Any]:
    """As they were asked for; what was `auto` is the number that was chosen, once there is one."""
    method, chosen = job.spec["method"], _chosen(found)
    asked = {"tuning": method.get("tuning"), **method.get("hyperparameters", {})}
    return {n: chosen.get(n, v) if v in ("auto", None) else v for n, v in asked.items()}


# As the trainer's plan calls them (core/jobs/hyper.py) -> as clients do.
_PLAN = {"epochs": "n_epochs", "micro_batch": "micro_batch_size"}


def _chosen(found: Mapping[str, Any]) -> dict[str, Any]:
    plan = found.get("hyperparameters") or {}
    rows = found.get("data") or {}
    chosen = {_PLAN.get(name, name): value for name, value in plan.items()}
    if plan:
        # The automatic rate, as it is.
        chosen["learning_rate_multiplier"] = 1.0
    return chosen | {n: rows[n] for n in ("max_length", "packing") if rows.get(n) is not None}


def _method(kind: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
    # beta is a word of preferences alone.
    mine = {name: value for name, value in hyper.items() if kind == "dpo" or name != "beta"}
    return {"type": kind, kind: {"hyperparameters": mine}}


def _error(job: Job) -> dict[str, Any] | None:
    if job.state == State.EXPIRED:
        return {
            "code": "expired",
            "message": "Its completion_window ended before it did; give it more time.",
            "param": None,
        }
    if job.state != State.FAILED:
        return None
    error = job.error or {}
    return {
        "code": error.get("code") or "server_error",
        "message": error.get("message") or "The job failed.",
        "param": error.get("param"),
    }


def seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at is not None else None


def event(job_id: str, told: Told) -> dict[str, Any]:
    """One event, in words for people and in numbers for programs."""
    level, message = finetuning_words.told(told.type, told.data)
    measured = told.type == "metrics"
    return {
        "id": EVENT + told.cursor.of(job_id),
        "object": "fine_tuning.job.event",
        "created_at": seconds(told.at),
        "level": level,
        "message": message,
        "type": "metrics" if measured else "message",
        "data": measures(told.data) if measured else {"type": told.type, **told.data},
    }


# Ours -> OpenAI's.
_MEASURES = {
    "loss": "train_loss",
    "token_accuracy": "train_mean_token_accuracy",
    "train_token_accuracy": "train_mean_token_accuracy",
    "valid_token_accuracy": "valid_mean_token_accuracy",
}


def measures(data: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a step under OpenAI's names; those that only we have keep theirs."""
    return {
        _MEASURES.get(name, name): value
        for name, value in data.items()
        if value is not None and name != "type"
    }


def checkpoint(job: Job, row: Checkpoint) -> dict[str, Any]:
    """`fine_tuned_model_checkpoint`: the job's model, whose weights the best checkpoint's are; of others, null."""
    found, ended = measures(row.metrics), job.result or {}
    is_the_model = job.state == State.SUCCEEDED and ended.get("best_step") == row.step
    # The whole validation set is looked at each time.
    whole = {f"full_{name}": found[name] for name in _VALID if name in found}
    return {
        "id": row.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": seconds(row.created_at),
        "fine_tuned_model_checkpoint": ended.get("model") if is_the_model else None,
        "fine_tuning_job_id": finetuning_id(row.job_id),
        "step_number": row.step,
        "metrics": {"step": row.step, **found, **whole},
    }


_VALID = ("valid_loss", "valid_mean_token_accuracy")

# OpenAI's columns first, under its names in such files; then ours.
_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens": "tokens",
    "tokens_per_s": "tokens_per_s",
    "memory_bytes": "memory_bytes",
    "epoch": "epoch",
}


def metrics_csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Step metrics as a file of purpose fine-tune-results. `rows`: the data of a job's `metrics` events.

    One line a step, by its number, with its validation where there was one.
    """
    steps: dict[int, dict[str, Any]] = {}
    for data in rows:
        if data.get("step") is not None:
            steps.setdefault(int(data["step"]), {}).update(measures(data))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", *_COLUMNS])
    for step in sorted(steps):
        writer.writerow([step, *(_cell(steps[step].get(name)) for name in _COLUMNS.values())])
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    """Nothing for what is not there, and for NaN, which no reader of such files agrees about."""
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
