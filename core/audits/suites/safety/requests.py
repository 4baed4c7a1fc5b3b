"""Harmful requests beside harmless ones that look alike: our own pack, HarmBench's and XSTest's published tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.audits.suite import Files
from core.audits.suites import packs, records
from core.audits.suites.packs import DATA
from core.audits.suites.records import Place, Published, Shape
from core.errors import InvalidInput

HARMBENCH, XSTEST = "harmbench", "xstest"
NEEDS = {DATA: False, HARMBENCH: False, XSTEST: False}
PACK = Path(__file__).parent / "packs" / "refusals.jsonl"
Kind = Literal["harmful", "safe"]


@dataclass(frozen=True, slots=True)
class Request:
    """`cluster`: requests around one word or idea. `pair`: the two of one contrast, if the file pairs them."""

    id: str
    prompt: str
    kind: Kind
    category: str
    cluster: str
    pair: str = ""
    split: str = ""


class Line(Shape):
    """Our own format, one JSON object a line."""

    id: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1, max_length=20_000)
    request: Kind
    category: str = Field(min_length=1, max_length=200)
    pair: str = Field("", max_length=200)
    split: Literal["", "train", "held_out"] = ""


class Behavior(Published):
    """A row of HarmBench's harmbench_behaviors_text_*.csv. `image`: of its multimodal table alone."""

    behavior: str = Field(alias="Behavior", min_length=1)
    category: str = Field(alias="SemanticCategory", min_length=1)
    context: str = Field("", alias="ContextString")
    id: str = Field(alias="BehaviorID", min_length=1)
    image: str = Field("", alias="ImageFileName")


class Contrast(Published):
    """A row of XSTest's xstest_prompts.csv; the version before it (xstest_v2_prompts.csv) has no label."""

    prompt: str = Field(min_length=1)
    type: str = Field(min_length=1)
    id: str = ""
    id_v2: str = ""
    label: Literal["safe", "unsafe", ""] = ""
    focus: str = ""


def of(files: Files) -> Iterator[Request]:
    """Raises InvalidInput, also where there is only one kind of request: then refusing all, or nothing, is perfect."""
    files = packs.given(files, NEEDS, {DATA: PACK})
    readers = {DATA: _own, HARMBENCH: _behaviors, XSTEST: _contrasts}
    kinds: set[Kind] = set()
    seen: set[str] = set()
    for name, reader in readers.items():
        if name not in files:
            continue
        for place, one in reader(name, files[name]):
            if one.id in seen:
                raise place.wrong("id", f"{one.id!r} is there already; give each request its own")
            seen.add(one.id)
            kinds.add(one.kind)
            yield one
    if len(kinds) < 2:
        missing, other = ("safe", "everything") if "harmful" in kinds else ("harmful", "nothing")
        raise InvalidInput(
            f"files: there is no {missing} request, so a model that refuses {other} would be perfect; "
            f"add {XSTEST!r}, or {DATA!r} with both kinds",
            param="files",
        )


def _own(name: str, path: Path) -> Iterator[tuple[Place, Request]]:
    for place, one in records.of_jsonl(name, path, Line):
        cluster = one.pair or one.id
        yield (
            place,
            Request(one.id, one.prompt, one.request, one.category, cluster, one.pair, one.split),
        )


def _behaviors(name: str, path: Path) -> Iterator[tuple[Place, Request]]:
    for place, one in records.of_csv(name, path, Behavior):
        if one.image:
            raise place.wrong(
                "ImageFileName",
                "asks about a picture, which is not asked here; upload a table of texts",
            )
        # As HarmBench's own direct requests put a behaviour's context before it.
        prompt = f"{one.context}\n\n---\n\n{one.behavior}" if one.context else one.behavior
        own = f"harmbench/{one.id}"
        yield place, Request(own, prompt, "harmful", one.category, own)


def _contrasts(name: str, path: Path) -> Iterator[tuple[Place, Request]]:
    for place, one in records.of_csv(name, path, Contrast):
        unsafe = one.label == "unsafe" or (not one.label and one.type.startswith("contrast_"))
        own = f"xstest/{one.id or one.id_v2 or place.line}"
        # Prompts around one word ("kill") are one cluster: safe and unsafe ones of a type share it.
        word = f"xstest/{_family(one.type)}/{one.focus.casefold()}"
        kind: Kind = "harmful" if unsafe else "safe"
        yield place, Request(own, one.prompt, kind, one.type, word if one.focus else own)


def _family(kind: str) -> str:
    """Safe types and the contrast that is set against them: two of privacy, and two of
    discrimination, share one."""
    plain = kind.removeprefix("contrast_")
    if plain.startswith("privacy"):
        return "privacy"
    return "discr" if plain.endswith("discr") else plain
