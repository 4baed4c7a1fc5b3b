"""A model whose answers follow from a digest of the question; run as a script, lm-eval evaluates it in its own way."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager


def _number(*words: str) -> float:
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:4]) / 2**32


def likelihood(context: str, continuation: str) -> tuple[float, bool]:
    return -10 * _number(context, continuation) - 0.01, _number(continuation, context) < 0.5


def rolling(text: str) -> float:
    return -len(text) * (0.5 + _number(text))


def written(prompt: str, draw: int = 0) -> str:
    number = int(20 * _number(prompt, str(draw)))
    return f"I think so. The answer is {number}.\n\nQuestion: and so on"


class Twin(LM):  # type: ignore[misc]  # lm-eval ships no types
    """What lm-eval asks of a model, answered by the functions above."""

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [likelihood(*one.args) for one in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return [rolling(*one.args) for one in requests]

    def generate_until(self, requests: list[Any]) -> list[str]:
        said: list[str] = []
        told: dict[str, int] = {}
        for one in requests:
            prompt, options = one.args
            told[prompt] = draw = told.get(prompt, -1) + 1
            said.append(cut(written(prompt, draw), options["until"]))
        return said


def cut(text: str, stops: list[str]) -> str:
    for stop in stops:
        text = text.split(stop, maxsplit=1)[0]
    return text


def evaluated(folder: Path) -> dict[str, Any]:
    done = lm_eval.simple_evaluate(
        model=Twin(),
        tasks=sorted(path.stem for path in folder.glob("*.yaml")),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    return {
        task: {
            name: value
            for name, value in found.items()
            if isinstance(value, float) and "stderr" not in name
        }
        for task, found in done["results"].items()
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(evaluated(Path(sys.argv[1]))))
