"""A suite: which items it makes of which files, how an answer is scored, and the responders that prove it right."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core.audits.asking import Answer, Item
from core.measures.metric import Metric
from core.measures.rows import Row

# The uploaded files of a suite by the names that it gives them; one alone is called "data".
Files = Mapping[str, Path]


class Options(BaseModel):
    """What an audit may ask of any suite; a suite's own options are a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A responder whose scores are known exactly. `expected`: by metric name; None: undefined, which a figure must
    then be. `valid_rate`: the share of its answers that can be read."""

    name: str
    answer: Callable[[Item], Answer]
    expected: Mapping[str, float | None]
    valid_rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """`items(files, options)` raises InvalidInput naming file, line and field. `score` is pure and never raises for
    what a model wrote: what cannot be read is an invalid row. `version` is raised when items, prompts or scores change.

    `needs`: the files by name, True: it must be there. `group_by`: dimensions whose groups are shown and gated one by
    one. `limits`: what this does not show, in sentences for the person who decides. `controls(items)`: made for these
    very items, so that their scores are exact whatever part of the file is asked.
    """

    name: str
    version: str
    family: Literal["bias", "safety", "quality", "own"]
    title: str
    about: str
    source: str
    licence: str
    metrics: tuple[Metric, ...]
    items: Callable[[Files, Any], Iterator[Item]]
    score: Callable[[Item, Answer], Row]
    controls: Callable[[list[Item]], tuple[Control, ...]]
    limits: tuple[str, ...]
    needs: Mapping[str, bool] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()
    options: type[Options] = Options
    # Name and digest of the classifier that scores with, if any: another one is another measurement.
    classifier: tuple[str, str] | None = None
    # The suite as it is for these very files and options, where its metrics or groups are theirs (a suite of one's
    # own, a task of lm-eval). May read files and wait for a child process: called in a thread, never in the event loop.
    fitted: Callable[[Files, Any], "Suite"] | None = None

    def fit(self, files: Files, options: Any) -> "Suite":
        """This suite for these files and options; itself where it is the same for all. Errors are those of `items`."""
        return self.fitted(files, options) if self.fitted else self
