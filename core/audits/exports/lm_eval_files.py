"""An audit as lm-eval's own output: results_<time>.json, and samples_<task>_<time>.jsonl for each suite.

Source: lm_eval.loggers.EvaluationTracker and lm_eval.result_schema, 0.4.13.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.audits.exports.exported import Answered, Exported, figures, undefined


def stamp(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat().replace(":", "-")


def task(suite: str) -> str:
    """As a file's name may have it: lm-eval finds a task between the first and the last underscore."""
    return re.sub(r"[^A-Za-z0-9-]", "-", suite)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sample(one: Answered) -> dict[str, Any]:
    """One line. `counts` of the item stand as its metrics; an item that could not be read has none."""
    doc = {
        "item": one.item, "cluster": one.row["cluster"], "groups": json.dumps(one.row["groups"]),
        "valid": one.row["valid"],
    }  # fmt: skip
    said = one.answer["texts"] or [
        [str(logprob), str(greedy)] for logprob, _, _, greedy in one.answer["likelihoods"]
    ]
    counts = dict(one.row["counts"])
    return counts | {
        "doc_id": one.number,
        "doc": doc,
        "target": "",
        "arguments": {"gen_args_0": {"arg_0": one.prompt}},
        "resps": [said] if one.answer["texts"] else [[each] for each in said],
        "filtered_resps": said,
        "filter": "none",
        "metrics": list(counts),
        "doc_hash": digest(json.dumps(doc, sort_keys=True)),
        "prompt_hash": digest(one.prompt),
        "target_hash": digest(""),
    }


def results(audit: Exported, hashes: Mapping[str, str]) -> dict[str, Any]:
    """`hashes`: of each suite's samples. A figure's interval stands beside it; lm-eval's own standard error, which
    takes items for independent, is N/A."""
    names = {one["name"]: task(one["name"]) for one in audit.suites}
    found = {name: audit.of(name)[1] for name in names}
    finished = audit.published or audit.created
    return {
        "results": {names[name]: _figures(names[name], found[name]) for name in names},
        "group_subtasks": {names[name]: [] for name in names},
        "configs": {
            names[one["name"]]: {
                "task": names[one["name"]], "num_fewshot": 0, "output_type": "penstock",
                "metadata": {
                    "version": one["version"], "options": one["options"], "files": one["files"],
                    "undefined": undefined(found[one["name"]]),
                },
            }
            for one in audit.suites
        },
        "versions": {names[one["name"]]: one["version"] for one in audit.suites},
        "n-shot": dict.fromkeys(names.values(), 0),
        "higher_is_better": {names[name]: _better(audit, found[name]) for name in names},
        "n-samples": {
            names[name]: {"original": found[name].get("items", 0), "effective": found[name].get("items", 0)}
            for name in names
        },
        "config": {"model": "penstock", "model_args": {"model": audit.model}, "penstock": audit.identity},
        "git_hash": None,
        "date": audit.created.timestamp(),
        "task_hashes": {names[name]: value for name, value in hashes.items()},
        "model_source": "penstock",
        "model_name": audit.model,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", audit.model),
        "system_instruction": None, "system_instruction_sha": None, "fewshot_as_multiturn": None,
        "chat_template": None, "chat_template_sha": None,
        "start_time": audit.created.timestamp(), "end_time": finished.timestamp(),
        "total_evaluation_time_seconds": str((finished - audit.created).total_seconds()),
    }  # fmt: skip


def _figures(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "alias": name, "sample_len": found.get("items", 0)}
    for figure, value in figures(found).items():
        # A comma parts a metric from its filter.
        told[f"{figure.replace(',', ';')},none"] = value
        if not figure.endswith(("_ci_low", "_ci_high")):
            told[f"{figure.replace(',', ';')}_stderr,none"] = "N/A"
    return told


def _better(audit: Exported, found: Mapping[str, Any]) -> dict[str, bool | None]:
    known = audit.findings.get("metrics", {})
    ways = {"higher": True, "lower": False}
    return {
        one["metric"].replace(",", ";"): ways.get(known.get(one["metric"], {}).get("better"))
        for one in found.get("figures", [])
    }
