"""What every answer of this surface carries, and the errors of jobs that had none."""

import hashlib
from datetime import datetime
from typing import Any

from core.catalog.models import Served
from core.jobs.job import State

VERSION = "0.1.0"


def fingerprint(model: Served) -> str:
    """Changes when the same seed may give another answer: with the model or with us."""
    mark = hashlib.sha256(f"{VERSION} {model.name} {model.source} {model.digest}".encode())
    return f"fp_{mark.hexdigest()[:10]}"


def usage(*usages: dict[str, Any] | None) -> dict[str, Any]:
    """Of all the jobs together."""

    def total(name: str) -> int:
        return sum(int((one or {}).get(name, 0)) for one in usages)

    prompt, said = total("prompt_tokens"), total("completion_tokens")
    # Beyond OpenAI's: no engine made these tokens now, a cache had them.
    modes = sorted({(one or {}).get("cache", "") for one in usages})
    found = {"cache": ", ".join(modes)} if modes and all(modes) else {}
    return {
        **found,
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "prompt_tokens_details": {
            "text_tokens": prompt,
            "cached_tokens": total("cached_tokens"),
            "audio_tokens": 0,
            "image_tokens": 0,
        },
        "completion_tokens_details": {
            "text_tokens": said,
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def choices(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of one job: its result lists them where there is more to tell than a text."""
    plain = {"index": 0, "text": result.get("text", ""), "finish_reason": result["finish_reason"]}
    return result.get("choices") or [plain]


def head(job_id: str, created: datetime, model: Served, prefix: str, kind: str) -> dict[str, Any]:
    """The fields that every object and every chunk begin with."""
    return {
        "id": f"{prefix}-{job_id.removeprefix('job_')}",
        "object": kind,
        "created": int(created.timestamp()),
        "model": model.name,
        "system_fingerprint": fingerprint(model),
    }


def failure(job_id: str, state: str, error: dict[str, Any] | None) -> dict[str, Any]:
    """The error of a job that ended without an answer."""
    if state == State.FAILED:
        known = error or {}
        code, message = known.get("code"), f"Job {job_id} failed: {known.get('message')}"
    else:
        code, message = f"job_{state}", f"Job {job_id} was {state} before it had an answer."
    return {"message": message, "type": "server_error", "param": None, "code": code}
