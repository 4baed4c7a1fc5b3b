"""Counterfactual token fairness: what changes when nothing but a group's word does.

Garg et al., "Counterfactual Fairness in Text Classification through Robustness", AIES 2019. f(x), of which the change
is taken, is here the probability of some continuations beside others, or a written yes or no.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

from pydantic import Field

from core.audits.asking import Answer, Item, Likelihood, Score, Write
from core.audits.suite import Files, Options, Suite
from core.audits.suites.bias import choosing, packs, templates, written
from core.audits.suites.bias.counterfactual_controls import controls
from core.audits.suites.bias.templates import Pack, Template
from core.audits.suites.packs import DATA
from core.errors import InvalidInput
from core.measures import counterfactual
from core.measures.rows import Row

NEEDS = {DATA: False}
# What asking the same text again adds to a row's counts.
REPEATS = ("repeated", "noise")


class CounterfactualOptions(Options):
    """`mode`: "likelihood" takes templates with continuations, "write" those with a question. `temperature` (write):
    above 0 each question is asked twice, which tells what sampling alone changes."""

    mode: Literal["likelihood", "write"] = "likelihood"
    dimensions: tuple[str, ...] = Field(default=(), description="only these; empty: all")
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=32, ge=1, le=1024)


def items(files: Files, options: CounterfactualOptions) -> Iterator[Item]:
    pack = templates.read(packs.given(files, NEEDS, {DATA: "counterfactual.json"})[DATA])
    unknown = set(options.dimensions) - set(pack.groups)
    if unknown:
        raise InvalidInput(
            f"options.dimensions: the file has no {', '.join(sorted(unknown))}; "
            f"it has {', '.join(pack.groups)}",
            param="options.dimensions",
        )
    make = _pairs if options.mode == "likelihood" else _questions
    empty = True
    for template in pack.templates:
        if not options.dimensions or template.dimension in options.dimensions:
            for item in make(pack, template, options):
                empty = False
                yield item
    if empty:
        field = "context" if options.mode == "likelihood" else "question"
        raise InvalidInput(
            f"file {DATA!r}, templates: none has a {field!r}, which mode {options.mode!r} asks; add one, or ask for "
            "the other mode",
            param="options.mode",
        )


def _pairs(pack: Pack, template: Template, _: CounterfactualOptions) -> Iterator[Item]:
    """One item for each two groups: both sentences are in it, so that no draw of items parts them."""
    if template.context is None:
        return
    ends = (*template.high, *template.low)
    for one, other in combinations(pack.groups[template.dimension].items(), 2):
        contexts = [template.filled(words) for _, words in (one, other)]
        pair = f"{one[0]}/{other[0]}"
        yield Item(
            id=f"{template.id}/{pair}",
            ask=Score("", ends * 2, tuple(context for context in contexts for _ in ends)),
            cluster=template.id,
            groups={"dimension": template.dimension, "pair": pair},
            pair=template.id,
            data=_data(template) | {"high": len(template.high), "rest": template.rest},
        )


def _questions(pack: Pack, template: Template, options: CounterfactualOptions) -> Iterator[Item]:
    """One item for each group; their answers meet in `columns`."""
    if template.question is None:
        return
    for place, (group, words) in enumerate(pack.groups[template.dimension].items()):
        yield Item(
            id=f"{template.id}/{group}",
            ask=Write(
                f"{template.filled(words)} Answer yes or no.\nAnswer:",
                options.max_tokens,
                n=2 if options.temperature > 0 else 1,
                temperature=options.temperature,
            ),
            cluster=template.id,
            groups={"dimension": template.dimension, "group": group},
            pair=template.id,
            data=_data(template) | {"choices": ["yes", "no"], "place": place},
        )


def _data(template: Template) -> dict[str, Any]:
    return {"split": template.split} if template.split else {}


def score(item: Item, answer: Answer) -> Row:
    counts = _decided(item, answer) if isinstance(item.ask, Write) else _weighed(item, answer)
    return Row(
        item.id,
        item.cluster,
        valid=counts is not None,
        counts=counts or {},
        groups=item.groups,
        pair=item.pair,
    )


def _weighed(item: Item, answer: Answer) -> dict[str, float] | None:
    assert isinstance(item.ask, Score)
    given = choosing.readable(answer, len(item.ask.continuations))
    if given is None:
        return None
    half, high = len(given) // 2, item.data["high"]
    first, second = (_share(side[:high], side[high:]) for side in (given[:half], given[half:]))
    return counterfactual.counts(first, [second])


def _share(high: Sequence[Likelihood], low: Sequence[Likelihood]) -> float:
    """f(x): the probability of `high` out of that of both; without underflow, for texts are unlikely."""
    top = max(one.logprob for one in (*high, *low))
    above, below = (sum(math.exp(one.logprob - top) for one in side) for side in (high, low))
    return above / (above + below)


def _decided(item: Item, answer: Answer) -> dict[str, float] | None:
    said = [written.decided(text) for text in answer.texts]
    if not said or None in said:
        return None
    return {"place": float(item.data["place"])} | {
        f"said[{number}]": float(bool(one)) for number, one in enumerate(said)
    }


def columns(rows: Sequence[Row]) -> Mapping[str, float]:
    """Of one template: its pairs' counts; written answers are paired here, each two groups once."""
    parts = [row.counts for row in rows if "texts" in row.counts]
    told = sorted(
        (row.counts for row in rows if "said[0]" in row.counts), key=lambda one: one["place"]
    )
    parts += [counterfactual.counts(a["said[0]"], [b["said[0]"]]) for a, b in combinations(told, 2)]
    for one in told:
        if "said[1]" in one:
            again = counterfactual.counts(one["said[0]"], [one["said[0]"]], [one["said[1]"]])
            parts.append({name: again[name] for name in REPEATS})
    totals: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            totals[name] = totals.get(name, 0.0) + value
    return totals


COUNTERFACTUAL = Suite(
    name="counterfactual",
    version="1",
    family="bias",
    title="Counterfactual swaps: the same text about another group",
    about="Templates are filled with the words of one group and of another. How much the answer changes is what the "
    "group's word alone does: by the share of probability on given continuations, or by a written yes or no.",
    source="Garg et al. 2019, https://arxiv.org/abs/1809.10610; templates written for this project",
    licence="our own pack: Apache-2.0",
    metrics=tuple(
        dataclasses.replace(metric, columns=columns) for metric in counterfactual.METRICS
    ),
    items=items,
    score=score,
    controls=controls,
    limits=(
        "Only the groups and sentences of the templates: a model may treat others, or other wordings, otherwise.",
        "A swap is not always neutral: some answers may rightly depend on the group (pregnancy, a faith's holidays).",
        "By likelihood, f(x) weighs the listed continuations against each other, however unlikely all of them are.",
        "Above temperature 0 a single yes or no is noisy: read ctf.excess, the change above the noise floor.",
    ),
    needs=NEEDS,
    group_by=("dimension", "pair"),
    options=CounterfactualOptions,
)
