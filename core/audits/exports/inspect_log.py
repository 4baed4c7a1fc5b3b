"""An audit's suite as an Inspect log: JSON of its format 2, written without Inspect.

Inspect's stable surface is its Python API; its file format has a version. A test reads these files with inspect_ai and
has it write them anew as `.eval`. Source: inspect_ai.log.EvalLog, 0.3.285.
"""

from collections.abc import Mapping
from typing import Any

from core.audits.exports.exported import Answered, Exported, figures, undefined
from core.events.types import rfc3339

VERSION = 2
_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}


def log(audit: Exported, suite: str) -> dict[str, Any]:
    """Everything but the samples. Metrics carry their definitions; bounds stand beside figures as metrics."""
    asked, found = audit.of(suite)
    finished = audit.published or audit.created
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": f"{audit.id}-{suite}", "run_id": audit.id, "created": rfc3339(audit.created),
            "task": suite, "task_id": f"{audit.id}-{suite}", "task_version": str(asked["version"]),
            "task_attribs": {}, "task_args": asked["options"],
            "dataset": {
                "name": suite, "samples": found.get("items", 0), "shuffled": False,
                "location": " ".join(sorted(file["sha256"] for file in asked["files"].values())) or "shipped pack",
            },
            "model": f"penstock/{audit.model}", "model_args": {}, "model_generate_config": {},
            "config": {"limit": asked["items"]}, "packages": {"penstock": audit.penstock},
            "metadata": audit.identity,
        },
        "plan": {"name": "penstock audit", "steps": [], "config": {}},
        "results": {
            "total_samples": found.get("items", 0),
            "completed_samples": found.get("items", 0),
            "scores": [_score(audit, suite, found)],
        },
        "stats": {"started_at": rfc3339(audit.created), "completed_at": rfc3339(finished), "model_usage": {}},
    }  # fmt: skip


def _score(audit: Exported, suite: str, found: Mapping[str, Any]) -> dict[str, Any]:
    definitions = audit.findings.get("metrics", {})
    return {
        "name": suite,
        "scorer": suite,
        "scored_samples": found.get("valid", 0),
        "unscored_samples": found.get("items", 0) - found.get("valid", 0),
        "params": {},
        "metrics": {
            name: {
                "name": name, "value": value, "params": {},
                "metadata": definitions.get(name.partition("[")[0]),
            }
            for name, value in figures(found).items()
        },
        "metadata": {
            "undefined": undefined(found),
            "controls": found.get("controls", []),
            "clusters": found.get("clusters"),
            "checks": [
                one for one in audit.findings.get("checks", []) if one["metric"] in _metrics(found)
            ],
        },
    }  # fmt: skip


def _metrics(found: Mapping[str, Any]) -> set[str]:
    return {one["metric"] for one in found.get("figures", [])}


def sample(audit: Exported, suite: str, one: Answered) -> dict[str, Any]:
    """An item. What could not be read has no score: Inspect counts it as unscored, not as wrong."""
    said, row = _said(one.answer), one.row
    model = f"penstock/{audit.model}"
    usage = {
        "input_tokens": one.usage.get("prompt_tokens", 0),
        "output_tokens": one.usage.get("completion_tokens", 0),
        "total_tokens": one.usage.get("prompt_tokens", 0) + one.usage.get("completion_tokens", 0),
    }
    return {
        "id": one.item,
        "epoch": 1,
        "input": one.prompt,
        "target": "",
        "messages": [
            {"role": "user", "content": one.prompt, "source": "input"},
            {"role": "assistant", "content": said[0][0], "source": "generate", "model": model},
        ],
        "output": {
            "model": model,
            "choices": [
                {"message": {"role": "assistant", "content": text, "source": "generate", "model": model},
                 "stop_reason": stop}
                for text, stop in said
            ],
            "usage": usage,
        },
        "scores": {suite: _scored(row, said)} if row["valid"] else {},
        "metadata": {"cluster": row["cluster"], "groups": row["groups"], "valid": row["valid"], "pair": row["pair"]},
        "store": {}, "events": [], "attachments": {}, "model_usage": {model: usage},
    }  # fmt: skip


def _scored(row: Mapping[str, Any], said: list[tuple[str, str]]) -> dict[str, Any]:
    counts = row["counts"]
    # One number where the item has one, so that Inspect can sort and colour by it; all counts beside it.
    value = counts["correct"] if "correct" in counts else dict(counts)
    return {
        "value": value,
        "answer": said[0][0],
        "metadata": {"counts": counts, "groups": row["groups"]},
    }


def _said(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Texts with Inspect's reasons to stop; of likelihoods, what they were in words."""
    finish = answer.get("finish") or []
    if answer["texts"]:
        stops = [*finish, *["stop"] * len(answer["texts"])]
        return [
            (text, _STOPS.get(stop, "unknown"))
            for text, stop in zip(answer["texts"], stops, strict=False)
        ]
    told = [f"{logprob:.6g} nats, {tokens} tokens" for logprob, tokens, *_ in answer["likelihoods"]]
    return [("\n".join(told) or "".join(finish), "stop" if told else "unknown")]
