"""lm-eval's tasks, seen as requests and scores; imported in lm-eval's own process alone."""

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import utils
from lm_eval.tasks import TaskManager

from core.audits.suites.own.lm_eval import folding, uploaded
from core.audits.suites.own.lm_eval.uploaded import Wrong

# lm-eval's own defaults: with others, the examples before a question are others.
_SEED, _NUMPY_SEED, _FEWSHOT_SEED = 0, 1234, 1234
_LOGLIKELIHOOD, _ROLLING, _GENERATE = "loglikelihood", "loglikelihood_rolling", "generate_until"


@dataclass
class Loaded:
    """Tasks by name with the instances of each document."""

    tasks: dict[str, Any]
    instances: dict[str, dict[int, list[Any]]]

    def told(self) -> dict[str, Any]:
        """The metrics and documents of each task."""
        return {"tasks": [self._told(name, task) for name, task in self.tasks.items()]}

    def _told(self, name: str, task: Any) -> dict[str, Any]:
        return {
            "name": name,
            "version": str(task.VERSION),
            "kind": task.OUTPUT_TYPE,
            "metrics": folding.metrics(task, _plain(task)),
            "docs": [
                {"doc": doc, "gold": _gold(task, several[0]), **_asked(several)}
                for doc, several in self.instances[name].items()
            ],
        }

    def scored(self, task: str, doc: int, resps: list[list[Any]]) -> dict[str, float]:
        """What lm-eval makes of the answers to a document: by metric and filter, as sums.

        `resps`: for each request its draws: [log likelihood, greedy], a log likelihood, or a text.
        """
        found, several = self.tasks[task], self.instances[task][doc]
        for instance, said in zip(several, resps, strict=True):
            instance.resps = [tuple(one) if isinstance(one, list) else one for one in said]
        counts: dict[str, float] = {}
        for ensemble in found._filters:  # noqa: SLF001 - as Task.apply_filters does, of one document
            ensemble.apply(several)
            results = found.process_results(
                several[0].doc, [one.filtered_resps[ensemble.name] for one in several]
            )
            for metric, value in results.items():
                counts |= folding.counted(found, metric, ensemble.name, value)
        return counts


def load(
    names: list[str], fewshot: int | None, config: str | None, data: dict[str, str], cache: str
) -> Loaded:
    """`names` of lm-eval's own tasks, groups or tags, or `config`: a path of an uploaded task with `data`: paths by
    split. Raises Wrong."""
    # Templates of an uploaded task would otherwise reach into this process.
    sandbox = ImmutableSandboxedEnvironment(
        loader=utils.env.loader, undefined=utils.env.undefined, keep_trailing_newline=True
    )
    sandbox.filters["regex_replace"] = utils.env.filters["regex_replace"]
    utils.env = sandbox
    random.seed(_SEED)
    np.random.seed(_NUMPY_SEED)
    if config is not None:
        manager = TaskManager(include_defaults=False)
        found = manager.load([uploaded.config(config, data, cache)])["tasks"]
    else:
        manager = TaskManager()
        for name in names:
            if name not in manager.task_index:
                raise Wrong(
                    f"there is no task {name[:64]!r} in lm-eval; `lm-eval ls tasks` lists them"
                )
        found = _named(manager, names)
    return Loaded(found, {name: _instances(name, task, fewshot) for name, task in found.items()})


def _named(manager: Any, names: list[str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = manager.load(names)["tasks"]
    except (OSError, ValueError, ImportError) as error:
        # Nothing is downloaded here: data that are not on this host are not found.
        raise Wrong(
            f"the data of {', '.join(names)} cannot be read on this host ({type(error).__name__}: "
            f"{str(error)[:300]}); put them into the cache that HF_HOME names, or upload the task as YAML with its data"
        ) from error
    return found


def _instances(name: str, task: Any, fewshot: int | None) -> dict[int, list[Any]]:
    if getattr(task, "UNSAFE_CODE", False):
        raise Wrong(f"{name} runs code that the model writes; that is not done here")
    if getattr(task, "MULTIMODAL", False):
        raise Wrong(f"{name} asks about pictures or sounds; that is not done here")
    if not hasattr(task, "_filters"):
        raise Wrong(
            f"{name} is a task of lm-eval's old kind, without filters; take one written as YAML"
        )
    own = task.get_config("num_fewshot")
    if fewshot is not None and own != 0:
        task.set_config("num_fewshot", fewshot)
    elif own is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(seed=_FEWSHOT_SEED)
    task.build_all_requests(rank=0, world_size=1)
    by_doc: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        by_doc[instance.doc_id].append(instance)
    for several in by_doc.values():
        several.sort(key=lambda one: one.idx)
    return dict(sorted(by_doc.items()))


def _asked(several: list[Any]) -> dict[str, Any]:
    """The requests of one document as one question. Raises Wrong for a document that asks in several ways."""
    kinds = {one.request_type for one in several}
    if kinds == {_LOGLIKELIHOOD}:
        return {"pairs": [list(one.args) for one in several]}
    if kinds == {_ROLLING} and len(several) == 1:
        return {"text": several[0].args[0]}
    if kinds == {_GENERATE} and len(several) == 1:
        context, given = several[0].args
        return {"prompt": context, **uploaded.generation(dict(given)), "n": several[0].repeats or 1}
    raise Wrong(
        f"a document of {several[0].task_name} asks for {' and '.join(sorted(kinds))} together"
    )


def _plain(task: Any) -> bool:
    """Whether scores are lm-eval's own definitions, of which more is known than their sums."""
    return task.config.process_results is None


def _gold(task: Any, instance: Any) -> int | None:
    """The index of the right choice where the task is plain multiple choice: what known responders go by."""
    if task.OUTPUT_TYPE != "multiple_choice" or not _plain(task) or task.multiple_input:
        return None
    target, choices = task.doc_to_target(instance.doc), task.doc_to_choice(instance.doc)
    if isinstance(target, str):
        return choices.index(target) if target in choices else None
    return target if isinstance(target, int) and 0 <= target < len(choices) else None
