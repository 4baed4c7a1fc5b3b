"""Which evidence a check is judged on: gathered as its policy says, one question for each group, nothing left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from core.gate.evidence import SuiteEvidence
from core.gate.policies import EVERY, Check, Policy
from core.measures.metric import Metric
from core.measures.rows import Row

# What a row belongs to that names no group of a dimension: it is judged like any other group.
NONE = "none"


@dataclass(frozen=True, slots=True)
class Question:
    """A check of one group. `missing`: why there is no evidence for it, and then `suite` is None."""

    check: Check
    group: Mapping[str, str]
    suite: SuiteEvidence | None = None
    missing: str = ""

    @property
    def metric(self) -> Metric:
        assert self.suite is not None, "asked of evidence alone"
        return self.suite.metrics[self.check.metric]

    def of(self, rows: Sequence[Row]) -> list[Row]:
        """Those that it is about, unread ones too."""
        return [row for row in rows if self.metric.takes(row) and _in(row, self.group)]

    def within(self) -> Iterator[tuple[str, list[Row]]]:
        """The groups that the figure compares by itself, as "dimension value", with their rows; none for a plain one.

        A largest difference is of those that have a figure: one without would be hidden by the rest.
        """
        if self.suite is None or (self.metric.sides is None and not self.metric.folded):
            return
        rows = self.of(self.suite.rows)
        for dimension in sorted({name for row in rows for name in row.groups}):
            drawn = {row.groups.get(dimension) for row in self.suite.rows}
            here = {row.groups[dimension] for row in rows if dimension in row.groups}
            for name in sorted(here | (set(self.suite.groups.get(dimension, ())) - drawn)):
                yield f"{dimension} {name}", [r for r in rows if r.groups.get(dimension) == name]


def questions(policy: Policy, evidence: Mapping[str, SuiteEvidence]) -> list[Question]:
    """All that a policy asks, in its order; a check that has no evidence is one question that says so."""
    return list(chain.from_iterable(_asked(policy, check, evidence) for check in policy.checks))


def _asked(
    policy: Policy, check: Check, evidence: Mapping[str, SuiteEvidence]
) -> Iterator[Question]:
    having = [
        one
        for one in evidence.values()
        if check.metric in one.metrics and check.suite in ("", one.name)
    ]
    if not having:
        where = f"the suite {check.suite}" if check.suite else f"a suite that has {check.metric}"
        yield Question(check, check.group, None, f"{where} was not part of this audit")
        return
    foreign = {one.name: _foreign(policy, check, one) for one in having}
    ours = [one for one in having if not foreign[one.name]]
    if not ours:
        why = "; ".join(f"{name} {reason}" for name, reason in sorted(foreign.items()))
        yield Question(check, check.group, None, why)
    elif len(ours) > 1:
        names = ", ".join(sorted(one.name for one in ours))
        yield Question(
            check, check.group, None, f"{check.metric} is in {names}; name the suite in the policy"
        )
    else:
        yield from _groups(check, ours[0])


def _groups(check: Check, suite: SuiteEvidence) -> Iterator[Question]:
    dimension = next((name for name, value in check.group.items() if value == EVERY), None)
    if dimension is None:
        yield Question(check, check.group, suite)
        return
    rows = [row for row in suite.rows if suite.metrics[check.metric].takes(row)]
    seen = {row.groups.get(dimension, NONE) for row in rows}
    # A group that the draw left out has no figure, and no figure never passes.
    names = sorted(seen | set(suite.groups.get(dimension, ())))
    if not set(names) - {NONE}:
        yield Question(check, check.group, None, f"{suite.name} has no {dimension} to tell apart")
        return
    for name in names:
        yield Question(check, {**check.group, dimension: name}, suite)


def _foreign(policy: Policy, check: Check, suite: SuiteEvidence) -> str:
    """Why this was not gathered as the policy says; empty: it was. Who is judged does not choose the questions."""
    if check.suite_version not in ("", suite.version):
        return f"is at version {suite.version}; the policy was written for version {check.suite_version}"
    if check.classifier not in ("", suite.classifier):
        return "was scored by another classifier than the policy names"
    if suite.split == "train":
        return "was asked on the templates that corrections learn from"
    if suite.imported and not check.files:
        return "is imported, and the policy names no file of it"
    if dict(suite.files) != dict(check.files):
        if check.files:
            return "was asked on other files than the policy names"
        return (
            "was asked on files that the policy does not name, not on the pack that comes with it"
        )
    wanted = {**suite.defaults, **check.options}
    if other := sorted(
        k for k in {*wanted, *suite.options} if suite.options.get(k) != wanted.get(k)
    ):
        return f"was asked with another {other[0]} than the policy says"
    if suite.seed is not None and suite.seed != policy.seed:
        return f"was asked with seed {suite.seed}; the policy asks with {policy.seed}"
    if suite.render != policy.render:
        return f"was asked as {suite.render}; the policy asks as {policy.render}"
    return ""


def part(check: Check, suite: str, items: int | None, asked: int) -> str:
    """Why this is another part of a suite than the policy asks; empty: it is not. `items`: as wished for, None: all
    there are; `asked`: as came of it.

    Who may choose how much is asked, and looks again after each few items, has a model at its limit pass 21 times in
    100 in place of 5 (`tests/core/gate/test_choosing.py`).
    """
    if items == check.items or (items is None and asked <= (check.items or 0)):
        return ""
    wanted = "all" if check.items is None else f"{check.items}"
    return f"{asked} items of {suite} were asked, the policy asks {wanted}: that may fail a model, not pass it"


def _in(row: Row, group: Mapping[str, str]) -> bool:
    return all(row.groups.get(name, NONE) == value for name, value in group.items())
