"""How well a model predicts whole texts: bits per byte, which any two models share, and perplexity per token, which
only models with one tokenizer do.

Hugging Face's definition for models of a fixed length: windows of `window` tokens that move on by `stride`, in each of
which only tokens that no window before has scored count. The first token of a text is given, never scored.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.audits.asking import Answer, Item, Likelihood, Rolling
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites import packs, records
from core.audits.suites.packs import DATA
from core.audits.suites.quality.questions import Name
from core.audits.suites.records import Place, Shape
from core.errors import InvalidInput
from core.measures import likelihood
from core.measures.rows import Row

PACK = Path(__file__).parent / "packs" / "texts.jsonl"
# What a first token may be: below this a text may have nothing left to score.
SHORTEST = 2
_PARAGRAPHS = re.compile(r"\n\s*\n")


class Text(Shape):
    """`cluster`: texts of one source, such as the chapters of a book, which are not independent."""

    text: str = Field(min_length=SHORTEST)
    id: Name = ""
    category: Name = ""
    cluster: Name = ""
    groups: dict[Name, Name] = Field(default_factory=dict, max_length=16)


class PerplexityOptions(Options):
    """`window`, `stride`: tokens; 0: the model's context and half of it. `format`: auto takes a file whose first
    character is { for JSON lines. `plain`: what one text is in a file of plain text."""

    window: int = Field(0, ge=0, le=1_000_000)
    stride: int = Field(0, ge=0, le=1_000_000)
    format: Literal["auto", "jsonl", "txt"] = "auto"
    plain: Literal["paragraphs", "lines", "document"] = "paragraphs"

    @model_validator(mode="after")
    def _moves_on(self) -> "PerplexityOptions":
        if self.window and self.stride > self.window:
            raise ValueError(
                "stride is over window, and would leave tokens out; make it at most window"
            )
        if self.window == 1:
            raise ValueError(
                "window of one token has nothing before it to go by; make it 2 or more"
            )
        return self


def items(files: Files, options: PerplexityOptions) -> Iterator[Item]:
    path = packs.given(files, (DATA,), {DATA: PACK})[DATA]
    seen: set[str] = set()
    for place, one in _texts(path, options):
        name = one.id or str(place.line)
        if name in seen:
            raise place.wrong("id", f"{name!r} stands on a line before; give each its own")
        seen.add(name)
        yield Item(
            id=name,
            ask=Rolling(one.text, options.window, options.stride),
            cluster=one.cluster or name,
            groups=one.groups | ({"category": one.category} if one.category else {}),
        )


def _texts(path: Path, options: PerplexityOptions) -> Iterator[tuple[Place, Text]]:
    with path.open("rb") as opened:
        start = opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if options.format == "jsonl" or (options.format == "auto" and start.startswith(b"{")):
        yield from records.of_jsonl(DATA, path, Text)
    else:
        yield from _plain(path, options.plain)


def _plain(path: Path, unit: str) -> Iterator[tuple[Place, Text]]:
    """The texts of a plain file, each with its number for a line."""
    try:
        whole = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"file {DATA!r}: is no UTF-8 text at byte {error.start}; save it as UTF-8",
            param=f"files.{DATA}",
        ) from None
    parts = {"document": lambda: [whole], "lines": whole.splitlines}.get(
        unit, lambda: _PARAGRAPHS.split(whole)
    )()
    texts = [part for part in parts if len(part.strip()) >= SHORTEST]
    if not texts:
        raise records.line(DATA, 1).wrong(
            "", "is missing: the file has no text; upload one that has"
        )
    for number, text in enumerate(texts, 1):
        yield records.line(DATA, number), Text(text=text)


def score(item: Item, answer: Answer) -> Row:
    counts = _counts(answer.likelihoods)
    return Row(item.id, item.cluster, valid=bool(counts), counts=counts, groups=item.groups)


def _counts(given: tuple[Likelihood, ...]) -> dict[str, float]:
    """Nothing for a text that is certain: no model is, and a server that scores nothing says 0."""
    if len(given) != 1:
        return {}
    one = given[0]
    if not (math.isfinite(one.logprob) and one.logprob < 0 and one.tokens > 0 and one.bytes > 0):
        return {}
    return likelihood.counts(logprob=one.logprob, tokens=one.tokens, bytes_=one.bytes)


def controls(items: list[Item]) -> tuple[Control, ...]:
    sizes = [_size(item) for item in items]
    lengths = [_words(item) for item in items]

    def known(nats: float) -> dict[str, float | None]:
        return {
            likelihood.BITS_PER_BYTE.name: nats / sum(sizes) / math.log(2),
            likelihood.PERPLEXITY.name: math.exp(nats / sum(lengths)),
        }

    nothing = dict.fromkeys((likelihood.BITS_PER_BYTE.name, likelihood.PERPLEXITY.name))
    return (
        Control(
            name="bit_a_byte",
            answer=lambda item: _said(item, -_size(item) * math.log(2)),
            expected=known(sum(sizes) * math.log(2)),
        ),
        # Texts of different length and difficulty: a mean of ratios, in place of the ratio of sums, shows here.
        Control(
            name="worse_when_longer",
            answer=lambda item: _said(item, -float(_words(item) ** 2)),
            expected=known(float(sum(length**2 for length in lengths))),
        ),
        Control(name="silent", answer=lambda _: Answer(), expected=nothing, valid_rate=0.0),
        Control(
            name="all_zero", answer=lambda item: _said(item, 0.0), expected=nothing, valid_rate=0.0
        ),
    )


def _said(item: Item, logprob: float) -> Answer:
    return Answer(likelihoods=(Likelihood(logprob, _words(item), _size(item)),))


def _text(item: Item) -> str:
    assert isinstance(item.ask, Rolling)
    return item.ask.text


def _size(item: Item) -> int:
    return len(_text(item).encode())


def _words(item: Item) -> int:
    return max(1, len(_text(item).split()))


PERPLEXITY = Suite(
    name="perplexity",
    version="1",
    family="quality",
    title="Perplexity and bits per byte",
    about="How likely whole texts are, in windows that move by a stride; a text's first token is never scored.",
    source="Hugging Face transformers, Perplexity of fixed-length models; bits per byte: Gao et al. 2020",
    licence="own pack: this project's; a file of yours: yours",
    metrics=likelihood.METRICS,
    items=items,
    score=score,
    controls=controls,
    limits=(
        "Perplexity per token compares only models with one tokenizer; take bits per byte for any two.",
        "Other windows or strides give other figures: hold only like against like.",
        "Text that a model was trained on is predicted from memory.",
        "Predicting text well is not answering well.",
    ),
    needs={DATA: False},
    group_by=("category",),
    options=PerplexityOptions,
)
