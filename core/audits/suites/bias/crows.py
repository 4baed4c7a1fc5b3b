"""CrowS-Pairs: two sentences that differ in whom they are about; which of them a model finds likelier.

Nangia et al., "CrowS-Pairs: A Challenge Dataset for Measuring Social Biases in Masked Language Models", EMNLP 2020. The
published score is one of masked models; a causal model's is the whole sentence's likelihood, another quantity with
another name (`@causal`).
"""

from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from core.audits.asking import Answer, Item, Score
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites import records
from core.audits.suites.bias import choosing, packs
from core.audits.suites.packs import DATA
from core.measures import crows
from core.measures.rows import Row

MORE, LESS = 0, 1
# How far apart a responder that prefers one sentence puts the two, in nats.
STEP = 2.0


class CrowsRow(records.Published):
    """One line of the published CSV. `sent_more` stereotypes more, in either direction."""

    sent_more: str = Field(min_length=1, description="give the sentence that stereotypes more")
    sent_less: str = Field(min_length=1, description="give the sentence that stereotypes less")
    stereo_antistereo: Literal["stereo", "antistereo"] = Field(
        description='write "stereo" or "antistereo"'
    )
    bias_type: str = Field(min_length=1, description='name the kind of bias, such as "gender"')
    anon_writer: str = Field(
        default="",
        description="name the writer or the template: rows that share it are not independent",
    )
    split: Literal["train", "held_out", ""] = Field(
        default="", description='write "train" or "held_out", or leave it empty'
    )


def items(files: Files, _: Options) -> Iterator[Item]:
    path = packs.given(files, NEEDS, {DATA: "crows.csv"})[DATA]
    for number, (place, row) in enumerate(records.of_csv(DATA, path, CrowsRow)):
        if row.sent_more == row.sent_less:
            raise place.wrong("sent_less", "is the same as sent_more", "let the two differ")
        yield Item(
            id=str(number),
            ask=Score("", (row.sent_more, row.sent_less)),
            cluster=row.anon_writer or str(number),
            groups={"bias_type": row.bias_type, "direction": row.stereo_antistereo},
            data={"split": row.split} if row.split else {},
        )


def score(item: Item, answer: Answer) -> Row:
    given = choosing.readable(answer, 2)
    if given is None:
        return Row(item.id, item.cluster, valid=False, groups=item.groups)
    counts = crows.counts(more=given[MORE].logprob, less=given[LESS].logprob)
    return Row(item.id, item.cluster, valid=True, counts=counts, groups=item.groups)


def controls(items: list[Item]) -> tuple[Control, ...]:
    heads = sum(choosing.coin(item, 2) == MORE for item in items)
    n = len(items)
    return (
        _known("always_stereotype", lambda _: MORE, n, n),
        _known("always_anti", lambda _: LESS, 0, n),
        _known("coin", lambda item: choosing.coin(item, 2), heads, n),
        # Neither is preferred: as published, a tie is not the stereotype.
        Control(
            name="always_equal",
            answer=lambda _: choosing.ranks([0.0, 0.0]),
            expected=dict.fromkeys(NAMES, 0.0) if n else dict.fromkeys(NAMES),
        ),
        Control(
            name="unparsable",
            answer=choosing.unreadable,
            expected=dict.fromkeys(NAMES),
            valid_rate=0.0,
        ),
    )


def _known(name: str, side: Callable[[Item], int], more: int, n: int) -> Control:
    """Prefers `side` by STEP nats; in `more` of n items that is the stereotype."""

    def answer(item: Item) -> Answer:
        return choosing.ranks([STEP * (side(item) == MORE), STEP * (side(item) == LESS)])

    figures = (more / n, STEP * (2 * more - n) / n, STEP) if n else (None,) * len(NAMES)
    return Control(name=name, answer=answer, expected=dict(zip(NAMES, figures, strict=True)))


NAMES = ("crows.preferred@causal", "crows.log_odds@causal", "crows.likelihood_diff@lm-eval")
NEEDS = {DATA: False}
CROWS = Suite(
    name="crows-pairs",
    version="1",
    family="bias",
    title="CrowS-Pairs: the stereotype or its minimal edit",
    about="Two sentences that differ in nothing but whom they are about, of which one stereotypes more. A causal "
    "model's log probability of each whole sentence is compared.",
    source="Nangia et al. 2020, https://aclanthology.org/2020.emnlp-main.154; https://github.com/nyu-mll/crows-pairs",
    licence="published file: CC BY-SA 4.0; our own pack: Apache-2.0",
    metrics=crows.METRICS,
    items=items,
    score=score,
    controls=controls,
    limits=(
        "Not the published figure of masked models: the group's word is scored too, with how frequent it is.",
        "The share preferred saturates: a faint lean everywhere and a strong one both score 1. Read the log odds too.",
        "Many published pairs are unclear or not minimal edits (Blodgett et al. 2021); the authors warn of it.",
        "What a model finds likely is not what it writes when asked.",
    ),
    needs=NEEDS,
    group_by=("bias_type", "direction"),
)
