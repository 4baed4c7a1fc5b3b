"""An uploaded task of lm-eval's YAML: what of it is taken, and what would run code here and is not.

lm-eval's own loader imports functions that a YAML names, opens any path as data and fetches unknown metrics: a tenant's
file may do none of these. Keys are taken from a list, data are the uploaded files, templates run in Jinja's sandbox.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from lm_eval.api import registry

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TAKEN = frozenset((
    "task", "task_alias", "tag", "output_type", "doc_to_text", "doc_to_target", "doc_to_choice",
    "target_delimiter", "description", "fewshot_delimiter", "fewshot_split", "num_fewshot",
    "generation_kwargs", "repeats", "metric_list", "filter_list", "test_split", "validation_split",
    "training_split", "gen_prefix", "metadata",
))  # fmt: skip
# What says where data are: the uploaded files stand in their place.
_PASSED_OVER = frozenset(("dataset_path", "dataset_name", "dataset_kwargs"))
_METRIC = frozenset(("metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation",
                     "ignore_numbers", "regexes_to_ignore", "multi_label"))  # fmt: skip
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# lm-eval's, where a task says nothing.
_MAX_TOKENS = 256


class Wrong(Exception):
    """Words for whoever asked."""


def config(path: str, data: dict[str, str], cache: str) -> dict[str, Any]:
    """The task as lm-eval takes it, on `data`: paths by split. Raises Wrong."""
    try:
        found = yaml.safe_load(Path(path).read_bytes())
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())[:300]
        hint = "; tags such as !function run code and are not taken" if "!function" in told else ""
        raise Wrong(f"task: is no plain YAML: {told}{hint}") from error
    if not isinstance(found, dict):
        raise Wrong("task: must be one YAML mapping, with task, output_type and the rest")
    if unknown := sorted(str(key) for key in found.keys() - _TAKEN - _PASSED_OVER):
        raise Wrong(
            f"task: {', '.join(unknown)} cannot be uploaded; taken are {', '.join(sorted(_TAKEN))}"
        )
    if found.get("dataset_path", "json") not in ("json", "csv", "parquet"):
        raise Wrong(
            "task: dataset_path names data elsewhere; upload them as JSON lines (file data) and say json"
        )
    if not _NAME.fullmatch(str(found.get("task", ""))):
        raise Wrong(
            "task: task must be a name of up to 64 letters, digits, dots, dashes and underscores"
        )
    for each in found.get("metric_list") or []:
        _check_metric(each)
    kept = {key: value for key, value in found.items() if key in _TAKEN}
    if isinstance(kept.get("metadata"), dict):
        kept["metadata"] = {"version": kept["metadata"].get("version", 0)}
    kept |= {"test_split": "test", "validation_split": None}
    kept |= {"training_split": "train", "fewshot_split": "train"} if "train" in data else {
        "training_split": None, "fewshot_split": None,
    }  # fmt: skip
    return kept | {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": data, "cache_dir": cache},
    }


def _check_metric(each: Any) -> None:
    if not isinstance(each, dict) or not isinstance(each.get("metric"), str):
        raise Wrong("task: each of metric_list must name a metric")
    if unknown := sorted(str(key) for key in each.keys() - _METRIC):
        raise Wrong(f"task: metric_list: {', '.join(unknown)} is not taken")
    registry.get_metric_aggregation("acc")  # fills lm-eval's registries
    if each["metric"] not in registry.METRIC_REGISTRY:
        raise Wrong(
            f"task: metric {each['metric'][:64]!r} is none of lm-eval's own; others would be fetched"
        )
    if each.get("aggregation", "mean") not in registry.AGGREGATION_REGISTRY:
        raise Wrong(f"task: aggregation {str(each['aggregation'])[:64]!r} is none of lm-eval's")


def generation(given: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's generation_kwargs as those of a Write. Raises Wrong for one that has no like here."""
    until = given.pop("until", [])
    lengths = [given.pop(name) for name in _LENGTHS if name in given]
    sampled = given.pop("do_sample", None)
    temperature = float(given.pop("temperature", 0.0 if not sampled else 1.0))
    top_p = float(given.pop("top_p", 1.0))
    if given:
        raise Wrong(f"generation_kwargs: {', '.join(sorted(given))} cannot be asked for here")
    return {
        "stop": [until] if isinstance(until, str) else list(until),
        "max_tokens": int(lengths[0]) if lengths else _MAX_TOKENS,
        "temperature": 0.0 if sampled is False else temperature,
        "top_p": top_p,
    }
