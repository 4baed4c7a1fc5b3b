"""Evals, their runs and output items as OpenAI's clients read them; beside them what only ours has."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.audits.shapes import row_of
from core.audits.tables import AuditAnswer
from core.errors import NotFound
from core.gate.tables import Audit
from core.jobs.evals import Eval, EvalRun, run_id
from core.jobs.job import Job, State
from core.openai.eval_tally import Counts, Tally, passes

STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "completed",
    State.CANCELLED: "canceled",
    State.FAILED: "failed",
    State.EXPIRED: "failed",
}
ITEM = "evalitem_"
_ITEM = re.compile(ITEM + r"([0-9a-z]{26})-(\d{1,3})-(\d{1,9})")
# What the sample of a custom eval holds; the schema tells clients what graders may name.
_SAMPLE = {
    "type": "object",
    "properties": {"output_text": {"type": "string"}, "model": {"type": "string"}},
    "required": ["output_text"],
}


def states(status: str) -> tuple[State, ...]:
    return tuple(state for state, name in STATUS.items() if name == status)


def shown_eval(row: Eval) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "eval",
        "name": row.name,
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
        "data_source_config": _config(row.data_source_config),
        "testing_criteria": row.testing_criteria,
        "metadata": row.labels,
    }


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["type"] != "custom":
        return {"type": given["type"], "schema": {}}
    schema: dict[str, Any] = {
        "type": "object", "properties": {"item": given["item_schema"]}, "required": ["item"],
    }  # fmt: skip
    if given.get("include_sample_schema"):
        schema["properties"]["sample"] = _SAMPLE
        schema["required"].append("sample")
    return {"type": "custom", "schema": schema}


def shown_run(job: Job, run: EvalRun, audit: Audit, tally: Tally, base: str) -> dict[str, Any]:
    """`base`: the URL under which the client reached us, for the report. Those below `audit` are our own."""
    done = job.state == State.SUCCEEDED
    return {
        "id": run_id(job.id),
        "object": "eval.run",
        "eval_id": run.eval_id,
        "name": run.name,
        "model": job.model,
        "status": STATUS[State(job.state)],
        "created_at": seconds(job.created_at),
        "data_source": run.data_source,
        "error": _error(job),
        "metadata": job.labels,
        "result_counts": _counts(tally.items),
        "per_testing_criteria_results": [
            {"testing_criteria": criterion["name"], **_result(tally.each.get(number, Counts()))}
            for number, criterion in enumerate(run.criteria)
        ],
        "per_model_usage": _usage(job, tally.items.total),
        "report_url": f"{base}/v1/audits/{job.id}/report?format=html",
        "audit": job.id,
        "verdict": audit.verdict if done else None,
        "policy": f"{audit.policy_name}@{audit.policy_version}" if audit.policy_name else None,
    }


def _error(job: Job) -> dict[str, Any] | None:
    if State(job.state) == State.EXPIRED:
        return {"code": "expired", "message": "its completion window ended first"}
    return {name: job.error[name] for name in ("code", "message")} if job.error else None


def _counts(of: Counts) -> dict[str, int]:
    return {"total": of.total, "passed": of.passed, "failed": of.failed, "errored": of.errored}


def _result(of: Counts) -> dict[str, int]:
    """OpenAI's has no place for what could not be read: it did not pass."""
    return {"passed": of.passed, "failed": of.failed + of.errored}


def _usage(job: Job, answers: int) -> list[dict[str, Any]]:
    if not job.usage:
        return []
    names = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
    took = {name: int(job.usage.get(name) or 0) for name in names}
    return [{"model_name": job.model, "invocation_count": answers, **took}]


def item_id(job_id: str, place: int, number: int) -> str:
    """`place`: of its suite among the audit's."""
    return f"{ITEM}{job_id.removeprefix('job_')}-{place}-{number}"


def place_of(job_id: str, of: str) -> tuple[int, int]:
    """Place and number of an output item of this run. Raises NotFound."""
    found = _ITEM.fullmatch(of)
    if found is None or found[1] != job_id.removeprefix("job_"):
        raise missing(of)
    return int(found[2]), int(found[3])


def missing(of: str) -> NotFound:
    return NotFound(
        f"No output item {of[:64]!r} of this run.", param="output_item_id",
        code="output_item_not_found",
    )  # fmt: skip


def shown_item(answer: AuditAnswer, job: Job, run: EvalRun, audit: Audit) -> dict[str, Any]:
    place = next(n for n, one in enumerate(audit.suites) if one["name"] == answer.suite)
    results, passed = graded(answer, job, run, audit)
    return {
        "id": item_id(job.id, place, answer.number),
        "object": "eval.run.output_item",
        "eval_id": run.eval_id,
        "run_id": run_id(job.id),
        "created_at": seconds(answer.created_at),
        "status": "error" if passed is None and not answer.row["valid"] else _said(passed),
        "datasource_item_id": answer.number,
        "datasource_item": _asked(answer, run),
        "results": results,
        "sample": _sample(answer, job, audit.suites[place], audit),
    }


def _said(passed: bool | None) -> str:
    return "pending" if passed is None else "pass" if passed else "fail"


def graded(
    answer: AuditAnswer, job: Job, run: EvalRun, audit: Audit
) -> tuple[list[dict[str, Any]], bool | None]:
    """What each criterion says of an answer, and whether it passed them all; None: it could not be read, or that
    is not known yet."""
    verdict = audit.verdict if job.state == State.SUCCEEDED else None
    row = row_of(answer.item, answer.row)
    of = [one for one in run.criteria if one["suite"] == answer.suite]
    if not row.valid:
        return [
            {"name": o["name"], "type": o["type"], "passed": False, "score": 0.0} for o in of
        ], None
    said = [(one, passes(one, row, verdict)) for one in of]
    results = [
        {
            "name": one["name"],
            "type": one["type"],
            "passed": bool(passed),
            "score": row.counts.get(f"score[{one['grader']}]", float(bool(passed))),
        }
        for one, passed in said
    ]
    unknown = any(passed is None for _, passed in said)
    return results, None if unknown else all(passed for _, passed in said)


def _asked(answer: AuditAnswer, run: EvalRun) -> dict[str, Any]:
    """The item itself where it came with the run, else where it is to be found."""
    inline = run.data_source.get("source", {}).get("content")
    if inline and answer.suite == "graded" and answer.item.isdigit():
        found: dict[str, Any] = inline[int(answer.item) - 1]["item"]
        return found
    groups = answer.row.get("groups") or {}
    return {"suite": answer.suite, "item": answer.item, **groups}


def _sample(
    answer: AuditAnswer, job: Job, suite: Mapping[str, Any], audit: Audit
) -> dict[str, Any]:
    options, settings, usage = suite.get("options", {}), audit.settings or {}, answer.usage
    texts = answer.answer.get("texts") or []
    finish = answer.answer.get("finish") or []
    asked, said = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return {
        "error": None,
        "finish_reason": finish[0] if finish else "",
        "input": [{"role": "user", "content": answer.prompt}],
        "output": [{"role": "assistant", "content": one} for one in texts],
        "model": job.model,
        "max_completion_tokens": options.get("max_tokens", 0),
        "seed": settings.get("seed", 0),
        "temperature": options.get("temperature", 0.0),
        "top_p": options.get("top_p", 1.0),
        "usage": {
            "prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said,
            "cached_tokens": usage.get("cached_tokens") or 0,
        },
    }  # fmt: skip


def seconds(at: datetime) -> int:
    return int(at.timestamp())
