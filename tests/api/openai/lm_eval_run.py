"""Run by test_lm_eval.py in a process of its own, which takes long to start: evaluations by lm-eval, as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager


def evaluate(model: str, arguments: str, tasks: Path) -> dict[str, Any]:
    """The log likelihoods of every answer of every question, and the metrics made from them."""
    done = simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=sorted(path.stem for path in tasks.glob("*.yaml")),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        **({"device": "cpu"} if model == "hf" else {}),
    )
    numbers = {
        task: [[float(answer[0]) for answer in _answers(sample["resps"])] for sample in samples]
        for task, samples in done["samples"].items()
    }
    metrics = {
        f"{task} {name}": float(value)
        for task, found in done["results"].items()
        for name, value in found.items()
        if name.endswith(",none") and isinstance(value, float)
    }
    return {"numbers": numbers, "metrics": metrics}


def _answers(responses: list[Any]) -> list[Any]:
    return [one[0] if isinstance(one[0], (list, tuple)) else one for one in responses]


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    found = {
        name: evaluate(one["model"], one["arguments"], Path(one["tasks"]))
        for name, one in asked.items()
    }
    Path(sys.argv[2]).write_text(json.dumps(found))
