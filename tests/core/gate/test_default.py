"""The policy that Penstock comes with: made of suites that ship, passed by a model without fault, won by no other."""

from typing import Any

import pytest

from core.audits.asking import Answer, Item
from core.audits.suite import Suite
from core.audits.suites.listed import SUITES
from core.gate.evidence import SuiteEvidence
from core.gate.policies import builtin
from core.gate.service import DEFAULT
from core.gate.verdicts import judge

# What it said under which number: evidence under another text is none, so the number must rise with it.
NUMBERED = {1: "189e3dc0c0201e1baced46dece8a20947f5c3fd622358c2fee2661e034ae07ab"}
FAULTLESS = {"counterfactual": "always_same", "refusals": "perfect", "leaks": "never_leaks"}
NAMES = tuple(FAULTLESS)


def items(suite: Suite) -> list[Item]:
    return list(suite.items({}, suite.options()))


def shown(name: str, responder: str) -> SuiteEvidence:
    """What a suite shows of one of its own responders."""
    suite = SUITES[name]
    asked = items(suite)
    (control,) = [one for one in suite.controls(asked) if one.name == responder]
    answers: list[Answer] = [control.answer(item) for item in asked]
    rows = [suite.score(item, answer) for item, answer in zip(asked, answers, strict=True)]
    defaults: dict[str, Any] = suite.options().model_dump(mode="json")
    return SuiteEvidence(
        name=name, version=suite.version, rows=rows, metrics={m.name: m for m in suite.metrics},
        options=defaults, defaults=defaults,
    )  # fmt: skip


def others() -> list[tuple[str, str]]:
    return [
        (name, control.name)
        for name in NAMES
        for control in SUITES[name].controls(items(SUITES[name]))
        if control.name != FAULTLESS[name]
    ]


def test_its_number_rises_when_it_says_something_else() -> None:
    assert NUMBERED[DEFAULT.version] == DEFAULT.digest


def test_every_check_is_of_a_suite_that_ships_as_it_is_now() -> None:
    for check in builtin().checks:
        suite = SUITES[check.suite]
        assert check.suite_version == suite.version, "another version is another measurement"
        assert check.metric in {metric.name for metric in suite.metrics}
        assert not any(suite.needs.values()), "a newcomer has no file to bring"


def test_a_model_without_fault_passes() -> None:
    found = judge(builtin(), {name: shown(name, best) for name, best in FAULTLESS.items()})
    assert found.verdict == "PASS", found.reasons


@pytest.mark.parametrize(("name", "responder"), others())
def test_no_single_minded_responder_passes(name: str, responder: str) -> None:
    given = {other: shown(other, FAULTLESS[other]) for other in NAMES if other != name}
    found = judge(builtin(), given | {name: shown(name, responder)})
    assert found.verdict in ("FAIL", "INVALID"), found.reasons
