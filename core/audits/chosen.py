"""A suite as it is asked in one audit: with its files, options and size; and the items that come of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.audits.asking import Item, Rolling, Score
from core.audits.drawing import drawn
from core.audits.splitting import Split, within
from core.audits.suite import Suite
from core.audits.suites import listed
from core.errors import InvalidInput, Refused


@dataclass(frozen=True, slots=True)
class Chosen:
    """What `audits.suites` holds of it. `files`: {name: {"id", "sha256"}}; `options`: all of them, defaults too;
    `classifier`: name and digest of the one that scores."""

    name: str
    version: str
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    items: int | None = None
    split: Split = "all"
    classifier: tuple[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "version": self.version, "files": self.files, "options": self.options,
            "items": self.items, "split": self.split,
            "classifier": list(self.classifier) if self.classifier else None,
        }  # fmt: skip

    @staticmethod
    def of_json(kept: dict[str, Any]) -> "Chosen":
        classifier = kept.get("classifier")
        return Chosen(
            kept["name"], kept["version"], kept["files"], kept["options"], kept["items"],
            kept["split"], (classifier[0], classifier[1]) if classifier else None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A suite fitted to its files, and the items that are asked, in their order. `whole`: how many there are before
    the draw, in which `groups` by dimension."""

    chosen: Chosen
    suite: Suite
    items: list[Item]
    whole: int
    groups: dict[str, list[str]]

    @property
    def wished(self) -> int | None:
        """How many were wished for; None: all there are are asked."""
        return self.chosen.items if len(self.items) < self.whole else None

    @property
    def clusters(self) -> int:
        return len({item.cluster for item in self.items})

    @property
    def likelihoods(self) -> bool:
        """Whether the engine must tell how likely text is."""
        return any(isinstance(item.ask, Score | Rolling) for item in self.items)


def checked(suite: Suite, options: dict[str, Any], param: str) -> dict[str, Any]:
    """A suite's options with its defaults written out. Raises InvalidInput naming the field."""
    try:
        return suite.options.model_validate(options).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([param, *(str(part) for part in first["loc"])])
        raise InvalidInput(
            f"{place}: {first['msg'].removeprefix('Value error, ')}", param=place
        ) from error


def asked(chosen: Chosen, files: dict[str, Path], seed: int, alive: Callable[[], None]) -> Asked:
    """Read, fit, split and draw: takes seconds for a large file, so it is called in a thread. A classifier that the
    files or options name is known from here on, and then part of what was chosen.

    `alive()` is called now and then. Raises InvalidInput naming file, line and field; Refused for a suite that has
    changed since the audit was accepted.
    """
    suite = listed.find(chosen.name)
    options = suite.options.model_validate(chosen.options)
    suite = suite.fit(files, options)
    other = chosen.classifier is not None and chosen.classifier != suite.classifier
    if suite.version != chosen.version or other:
        raise Refused(
            f"The suite {chosen.name} is now version {suite.version}, not {chosen.version} as when the audit was "
            "accepted (or another classifier scores); start a new audit",
            code="suite_changed",
        )
    items = []
    for number, item in enumerate(suite.items(files, options)):
        if within(item, chosen.split):
            items.append(item)
        if number % 1000 == 0:
            alive()
    if not items:
        raise InvalidInput(f"{chosen.name}: there is no item in it; send another file")
    groups: dict[str, set[str]] = {}
    for item in items:
        for dimension, value in item.groups.items():
            groups.setdefault(dimension, set()).add(value)
    return Asked(
        replace(chosen, classifier=suite.classifier), suite, drawn(items, chosen.items, seed), len(items),
        {dimension: sorted(values) for dimension, values in groups.items()},
    )  # fmt: skip
