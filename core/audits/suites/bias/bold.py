"""BOLD: how a model goes on from the beginning of an encyclopaedia's sentence, group by group.

Dhamala et al., "BOLD: Dataset and Metrics for Measuring Biases in Open-Ended Language Generation", FAccT 2021.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from core.audits.asking import Answer, Item, Write
from core.audits.suite import Files, Options, Suite
from core.audits.suites import records
from core.audits.suites.bias import bold_measures, gender_words, packs
from core.audits.suites.bias.bold_controls import controls
from core.audits.suites.records import Place
from core.classifiers import listed
from core.classifiers.classifier import Classifier
from core.classifiers.lexical import moderation
from core.classifiers.toxicity import toxicity
from core.measures.rows import Row

# As the published files are called: <domain>_prompt.json.
DOMAINS = ("gender", "race", "religious_ideology", "political_ideology", "profession")
NEEDS = dict.fromkeys(DOMAINS, False)


class BoldOptions(Options):
    """`draws` continuations of each prompt, their scores averaged: the prompt is the unit."""

    draws: int = Field(default=1, ge=1, le=100)
    max_tokens: int = Field(default=30, ge=1, le=512)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)


def items(files: Files, options: BoldOptions) -> Iterator[Item]:
    files = packs.given(
        files, NEEDS, {"gender": "bold_gender.json", "profession": "bold_profession.json"}
    )
    for domain in DOMAINS:
        if domain in files:
            yield from _of(domain, files[domain], options)


def _of(domain: str, path: Path, options: BoldOptions) -> Iterator[Item]:
    said = records.document(domain, path)
    if not isinstance(said, dict) or not said:
        raise Place(domain, "line 1").wrong(
            "", "must be {group: {subject: [prompt, ...]}}", "upload BOLD's file of the domain"
        )
    empty = True
    for group in said:
        records.whole(Place(domain, "a group"), group, "name it in letters")
        for subject in records.member(domain, said, group, dict):
            records.whole(Place(domain, group), subject, "name the subject in letters")
            prompts = records.member(domain, said[group], subject, list, within=f"{group}.")
            for number, prompt in enumerate(prompts):
                if isinstance(prompt, str) and not prompt.strip():
                    continue  # five of the 23,679 published prompts are empty: nothing to go on from
                place = Place(domain, f"{group}.{subject}[{number}]")
                records.whole(place, prompt, "give the beginning of a sentence")
                empty = False
                yield _item(domain, group, subject, number, prompt, options)
    if empty:
        raise Place(domain, "line 1").wrong(
            "", "holds no prompts", "upload BOLD's file of the domain"
        )


def _item(
    domain: str, group: str, subject: str, number: int, prompt: str, options: BoldOptions
) -> Item:
    return Item(
        id=f"{domain}/{group}/{subject}/{number}",
        # A blank at the end would be a token of its own, after which few words begin.
        ask=Write(
            prompt.rstrip(),
            options.max_tokens,
            n=options.draws,
            temperature=options.temperature,
            top_p=options.top_p,
        ),
        # Sentences about one person or one profession are alike.
        cluster=f"{group}/{subject}",
        groups={"domain": domain, "group": group},
    )


def score(item: Item, answer: Answer, *, classifier: Classifier) -> Row:
    """Draws in which nothing was written are left out; where all are, nothing is known."""
    texts = [text for text in answer.texts if text.strip()]
    counts: dict[str, float] = {}
    if texts:
        toxic = [toxicity(one) for one in classifier.scores(texts)]
        polar = [one for text in texts if (one := gender_words.polarity(text)) is not None]
        counts = bold_measures.counts(item.groups["group"], toxic, polar, "\n".join(texts))
    return Row(item.id, item.cluster, valid=bool(texts), counts=counts, groups=item.groups)


def made(classifier: Classifier) -> Suite:
    return Suite(
        name="bold",
        version="1",
        family="bias",
        title="BOLD: how the model writes about each group",
        about="The model continues beginnings of sentences about people of several groups. A classifier scores how "
        "toxic it goes on, and a word list which gender it speaks of; groups are compared.",
        source="Dhamala et al. 2021, https://arxiv.org/abs/2101.11718; https://github.com/amazon-science/bold",
        licence="published files: CC BY-SA 4.0; our own pack: Apache-2.0",
        metrics=bold_measures.METRICS,
        items=items,
        score=partial(score, classifier=classifier),
        controls=partial(controls, classifier=classifier),
        limits=(
            "The paper's sentiment, regard and psycholinguistic norms are not measured (docs/audits-bias.md says why).",
            "Toxicity is the classifier's: another classifier is another measurement.",
            "A largest gap between groups is above 0 by chance alone: read it beside what chance makes of it.",
            "Gender polarity counts words. In prompts about actresses, female words are no fault.",
            *classifier.card.limits,
        ),
        needs=NEEDS,
        group_by=("domain", "group"),
        options=BoldOptions,
        classifier=(classifier.name, classifier.digest),
        fitted=_fitted,
    )


def _fitted(_files: Files, _options: Any) -> Suite:
    """With the classifier that PENSTOCK_CLASSIFIER names, which may take long to load or not be there."""
    return made(listed.classifier())


BOLD = made(listed.classifier(moderation.NAME))
