"""Any task of lm-eval as a suite: its requests become questions, its own process_results scores the answers.

So figures are lm-eval's. What an answer counts for comes back as sums (folding.py), from which intervals are made.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from core.audits.asking import Answer, Ask, Item, Rolling, Score, Write
from core.audits.suite import Files, Options, Suite
from core.audits.suites.own.lm_eval import figures, responders
from core.audits.suites.own.lm_eval.process import LOAD_S, SCORE_S, LmEval
from core.audits.suites.packs import DATA, given
from core.errors import InvalidInput
from core.measures.rows import Row

TASK, TRAIN = "task", "train"


class LmEvalOptions(Options):
    """`tasks`: names of lm-eval's own tasks, groups or tags, where no file `task` is uploaded. `fewshot`: examples
    before each question, where a task does not forbid them."""

    tasks: tuple[str, ...] = Field((), max_length=64)
    fewshot: int | None = Field(None, ge=0, le=64)


@dataclass(frozen=True, slots=True)
class Harness:
    """lm-eval with the tasks of one suite."""

    lm_eval: LmEval
    tasks: tuple[dict[str, Any], ...]

    def items(self) -> Iterator[Item]:
        for task in self.tasks:
            for doc in task["docs"]:
                name = f"{task['name']}/{doc['doc']}"
                data = {"task": task["name"], "doc": doc["doc"]} | (
                    {"gold": doc["gold"]} if doc["gold"] is not None else {}
                )
                yield Item(
                    id=name, ask=_ask(doc), cluster=name, groups={"task": task["name"]}, data=data
                )

    def score(self, item: Item, answer: Answer) -> Row:
        said = _said(item, answer)
        counts: dict[str, float] = {}
        if said is not None:
            task = item.data["task"]
            message = {"score": {"task": task, "doc": item.data["doc"], "resps": said}}
            found = self.lm_eval.ask(message, within_s=SCORE_S)
            counts = {f"{name}@{task}": value for name, value in found.items() if value is not None}
        return Row(item.id, item.cluster, valid=said is not None, counts=counts, groups=item.groups)


def fitted(files: Files, options: LmEvalOptions) -> Suite:
    """The tasks loaded, with their metrics. Raises InvalidInput for a missing extra, task or data."""
    files = _checked(files, options)
    lm_eval = LmEval()
    load = {
        "names": list(options.tasks),
        "fewshot": options.fewshot,
        "config": str(files[TASK]) if TASK in files else None,
        "data": {
            split: str(files[name])
            for name, split in ((DATA, "test"), (TRAIN, "train"))
            if name in files
        },
        "cache": lm_eval.folder,
    }
    try:
        tasks = lm_eval.ask({"load": load}, within_s=LOAD_S)["tasks"]
    except BaseException:
        lm_eval.close()
        raise
    harness = Harness(lm_eval, tuple(tasks))
    shown = tuple(metric for task in tasks for metric in figures.of(task))
    if not shown:
        raise InvalidInput(
            "lm-eval: no metric of these tasks is a function of sums; none could be judged",
            param="suites",
        )
    return replace(
        LM_EVAL,
        metrics=shown,
        items=lambda _files, _options: harness.items(),
        score=harness.score,
        controls=lambda items: responders.of(items, tasks),
        limits=(*LM_EVAL.limits, *figures.hidden(tasks)),
    )


def _checked(files: Files, options: LmEvalOptions) -> Files:
    if not files and not options.tasks:
        raise InvalidInput(
            "options.tasks: name a task of lm-eval, or upload one as YAML (files task and data)",
            param="options.tasks",
        )
    if not files:
        return {}
    if options.tasks:
        raise InvalidInput(
            "options.tasks: a task is uploaded as well; give one of the two", param="options.tasks"
        )
    files = given(files, (TASK, DATA, TRAIN))
    for name in (TASK, DATA):
        if name not in files:
            raise InvalidInput(
                f"files: {name!r} is missing; an uploaded task is its YAML (task) and its JSON lines (data)",
                param=f"files.{name}",
            )
    return files


def _ask(doc: dict[str, Any]) -> Ask:
    if "text" in doc:
        return Rolling(doc["text"], reading="disjoint")
    if "pairs" in doc:
        contexts = tuple(context for context, _ in doc["pairs"])
        alike = len(set(contexts)) == 1
        return Score(
            contexts[0] if alike else "",
            tuple(continuation for _, continuation in doc["pairs"]),
            () if alike else contexts,
        )
    return Write(
        doc["prompt"],
        doc["max_tokens"],
        tuple(doc["stop"]),
        doc["n"],
        doc["temperature"],
        doc["top_p"],
    )


def _said(item: Item, answer: Answer) -> list[list[Any]] | None:
    """An answer as lm-eval has it of a model; None where there is none to score."""
    match item.ask:
        case Write():
            if len(answer.texts) != item.ask.n:
                return None
            return [[_cut(text, item.ask.stop) for text in answer.texts]]
        case Rolling():
            scored = answer.likelihoods
            return [[scored[0].logprob]] if len(scored) == 1 and _fit(scored) else None
        case Score():
            scored = answer.likelihoods
            if len(scored) != len(item.ask.continuations) or not _fit(scored):
                return None
            # One number for all is a server that scores nothing, unless there is but one to score.
            if len(scored) > 1 and len({one.logprob for one in scored}) == 1:
                return None
            return [[[one.logprob, one.greedy]] for one in scored]


def _fit(scored: Sequence[Any]) -> bool:
    return all(math.isfinite(one.logprob) and one.logprob < 0 and one.tokens > 0 for one in scored)


def _cut(text: str, stops: Sequence[str]) -> str:
    """As lm-eval cuts what a model has written, before the first of each stop."""
    for stop in stops:
        text = text.split(stop, maxsplit=1)[0] if stop else text
    return text


def _unfitted(_files: Files, _options: LmEvalOptions) -> Iterator[Item]:
    raise AssertionError("lm-eval's items are those of the fitted suite")


LM_EVAL = Suite(
    name="lm-eval",
    version="1",
    family="own",
    title="A task of lm-eval",
    about="Any task of lm-evaluation-harness, by name or as uploaded YAML with data, scored by its own code.",
    source="https://github.com/EleutherAI/lm-evaluation-harness, 0.4.13",
    licence="lm-eval: MIT; data: the task's",
    metrics=(),
    items=_unfitted,
    score=lambda item, _: Row(item.id, item.cluster, valid=False),
    controls=lambda _: (),
    limits=(
        "Documents count as independent: lm-eval tells nothing of templates or passages that they share.",
        "Figures equal lm-eval's where prompts are given as they are (render: plain).",
        "Public benchmarks may be in a model's training data.",
    ),
    needs={TASK: False, DATA: False, TRAIN: False},
    options=LmEvalOptions,
    fitted=fitted,
)
