"""Evidence: what of a model an audit is true of, and what one suite of it showed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from core.measures.metric import Metric
from core.measures.rows import Row


class Subject(NamedTuple):
    """A model as it answers. `weights`: the digest of the served weights; `adapter`: of what is put on them, empty:
    nothing; `dataset`: of what the version was trained on, empty: nothing known. Evidence is for exactly these."""

    weights: str
    adapter: str = ""
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What wants through a door. `version_id`: None for a served base model."""

    name: str
    subject: Subject
    version_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteEvidence:
    """`metrics`: by full name. `classifier`: the digest of what scored, empty: none. `files`: SHA-256 by the suite's
    names for them, empty: its shipped pack. `options`: in full, `defaults`: those of the suite. `seed`: of the draw and
    of sampled answers; None: neither was. `items`: how many were wished for, None: all there are were asked. `groups`:
    those that the whole suite has, by dimension, also where the draw took none of them (empty: those of `rows`).
    `controls`: the names of responders that missed what they must score. `probe`: why the engine could not be asked,
    empty: it could. `baseline_rows`: None: there is nothing to hold it against; `no_baseline`: why;
    `against_production`: it is the one that the gate would replace, not one that was named. `render`: as the audit
    asked for it. `imported`: not asked by us.
    """

    name: str
    version: str
    rows: Sequence[Row]
    metrics: Mapping[str, Metric]
    baseline_rows: Sequence[Row] | None = None
    no_baseline: str = ""
    baseline: str = ""
    against_production: bool = True
    files: Mapping[str, str] = field(default_factory=dict)
    classifier: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    split: Literal["all", "train", "held_out"] = "all"
    seed: int | None = None
    items: int | None = None
    render: str = "auto"
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    controls: Sequence[str] = ()
    probe: str = ""
    imported: bool = False


def digest_of_suites(suites: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of which suites were asked and how: the column `suites` of an audit, whatever its order.

    Ids of files do not count, their content does.
    """
    said = sorted(json.dumps(_bare(one), sort_keys=True, separators=(",", ":")) for one in suites)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _bare(suite: Mapping[str, Any]) -> dict[str, Any]:
    files = {name: file["sha256"] for name, file in (suite.get("files") or {}).items()}
    return {**suite, "files": files}
