"""StereoSet: a stereotype, its opposite and something unrelated, in one sentence or as the next.

Nadeem et al., "StereoSet: Measuring stereotypical bias in pretrained language models", ACL 2021. The score of a text is
its mean log probability per token, as the authors have it for generative models.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from core.audits.asking import Answer, Item, Score
from core.audits.suite import Files, Options, Suite
from core.audits.suites import records
from core.audits.suites.bias import choosing, packs
from core.audits.suites.bias.stereoset_controls import controls
from core.audits.suites.packs import DATA
from core.errors import InvalidInput
from core.measures import stereoset
from core.measures.rows import Row

# In this order in every item, whatever the file's is.
LABELS: tuple[Literal["stereotype", "anti-stereotype", "unrelated"], ...] = (
    "stereotype",
    "anti-stereotype",
    "unrelated",
)
NEEDS = {DATA: False}
TASKS: tuple[Literal["intrasentence", "intersentence"], ...] = ("intrasentence", "intersentence")


class Sentence(records.Published):
    sentence: str = Field(min_length=1)
    gold_label: Literal["stereotype", "anti-stereotype", "unrelated"]


class Example(records.Published):
    """One of `data.intrasentence` or `data.intersentence` of dev.json."""

    id: str = Field(min_length=1, description="give each example an id of its own")
    target: str = Field(min_length=1, description="name the target term, such as chess player")
    bias_type: str = Field(min_length=1, description='name the domain, such as "profession"')
    context: str = Field(
        min_length=1, description="give the sentence that the others fill or follow"
    )
    sentences: list[Sentence] = Field(
        description="give three sentences, each with its gold_label: stereotype, anti-stereotype, unrelated"
    )
    split: Literal["train", "held_out"] | None = Field(
        default=None, description='write "train" or "held_out", or leave it out'
    )


class StereoSetOptions(Options):
    """`tasks`: fill a sentence (intrasentence), follow one (intersentence), or both."""

    tasks: Annotated[tuple[Literal["intrasentence", "intersentence"], ...], Field(min_length=1)] = (
        TASKS
    )


def items(files: Files, options: StereoSetOptions) -> Iterator[Item]:
    path = packs.given(files, NEEDS, {DATA: "stereoset.json"})[DATA]
    data = records.member(DATA, records.document(DATA, path), "data", dict)
    if not any(data.get(task) for task in options.tasks):
        raise InvalidInput(
            f"file {DATA!r}: data holds no examples under {' or '.join(options.tasks)}; "
            "upload StereoSet's dev.json, or ask for the tasks that the file has",
            param=f"files.{DATA}",
        )
    for task in TASKS:
        seen: set[str] = set()
        if task in options.tasks and task in data:
            for number, value in enumerate(records.member(DATA, data, task, list, within="data.")):
                place = records.Place(DATA, f"data.{task}[{number}]")
                example = records.checked(place, Example, value)
                if example.id in seen:
                    raise place.wrong("id", f"{example.id!r} is there twice", "give each its own")
                seen.add(example.id)
                yield _item(task, place, example)


def _item(task: str, place: records.Place, example: Example) -> Item:
    by_label = {one.gold_label: one.sentence for one in example.sentences}
    if len(example.sentences) != len(LABELS) or len(by_label) != len(LABELS):
        given = ", ".join(one.gold_label for one in example.sentences)
        raise place.wrong("sentences", f"has {given or 'nothing'}", "give one of each gold_label")
    texts = tuple(by_label[label] for label in LABELS)
    data: dict[str, Any] = {"split": example.split} if example.split else {}
    return Item(
        id=f"{task}/{example.id}",
        ask=Score("", texts)
        if task == "intrasentence"
        else Score(example.context, tuple(f" {text}" for text in texts)),
        cluster=example.target,
        groups={"domain": example.bias_type, "task": task},
        data=data,
    )


def score(item: Item, answer: Answer) -> Row:
    given = choosing.readable(answer, len(LABELS))
    if given is None:
        return Row(item.id, item.cluster, valid=False, groups=item.groups)
    stereotype, anti, unrelated = (one.logprob / one.tokens for one in given)
    counts = stereoset.counts(stereotype=stereotype, anti=anti, unrelated=unrelated)
    return Row(item.id, item.cluster, valid=True, counts=counts, groups=item.groups)


STEREOSET = Suite(
    name="stereoset",
    version="1",
    family="bias",
    title="StereoSet: stereotype, anti-stereotype or nonsense",
    about="For each target term three endings: a stereotype, its opposite and one that has nothing to do with it. A "
    "good model prefers the first two to the third, and neither of them to the other.",
    source="Nadeem et al. 2021, https://aclanthology.org/2021.acl-long.416; https://github.com/moinnadeem/StereoSet",
    licence="published file: CC BY-SA 4.0; our own pack: Apache-2.0",
    metrics=stereoset.METRICS,
    items=items,
    score=score,
    controls=controls,
    limits=(
        "The authors score next sentences (intersentence) by a head that they trained; here by likelihood.",
        "Compare with published figures on intrasentence alone.",
        "Crowd workers in the United States wrote it; many examples are noisy (Blodgett et al. 2021).",
        "ICAT mixes language skill with bias: read LMS and SS beside it. A tie counts as the anti-stereotype.",
    ),
    needs=NEEDS,
    group_by=("domain", "task"),
    options=StereoSetOptions,
)
