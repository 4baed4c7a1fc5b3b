"""Every way to production goes through the gate: by the source, which verbs write stages and aliases, and who asks."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeVar

import pytest

from tests.test_house_rules import ROOT, modules, name, tree

# Who may write what decides where requests go, and each of them asks core/gate/door.py.
STAGE_WRITERS = {"core/catalog/stages.py"}
ALIAS_WRITERS = {"core/catalog/aliases.py"}
PASS_WRITERS = {"core/gate/door.py", "core/catalog/withdrawals.py"}
POLICY_SETTERS = {"core/catalog/gating.py"}
T = TypeVar("T")
OURS = ("api/", "core/", "workers/", "infra/", "examples/", "bench/")


def ours() -> list[str]:
    return [name(path) for path in modules() if name(path).startswith(OURS)]


def once(read: Callable[[str], Iterator[T]]) -> Callable[[str], list[T]]:
    """Each module is read once, however many tables, columns and verbs are looked for in it."""
    return cache(lambda module: list(read(module)))


@once
def strings(module: str) -> Iterator[str]:
    for node in ast.walk(tree(ROOT / module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield " ".join(node.value.split())


@once
def assigned(module: str) -> Iterator[str]:
    """Attributes that are written: x.stage = ..."""
    for node in ast.walk(tree(ROOT / module)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            for one in ast.walk(target):
                if isinstance(one, ast.Attribute):
                    yield one.attr


@once
def called(module: str) -> Iterator[tuple[str, list[str]]]:
    """Calls by dotted name, with the names of their positional arguments."""
    for node in ast.walk(tree(ROOT / module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), [ast.unparse(one) for one in node.args]


def writers(table: str, column: str, row: str) -> set[str]:
    """Modules that write a column: in SQL, on a row of the ORM, or by a statement of its core."""
    sql = re.compile(
        rf"\b(UPDATE {table}\b(?! \w+ SET published_at| \w+ SET artifact).*\b{column}\b|INSERT INTO {table}\b)",
        re.I,
    )
    found = set()
    for module in ours():
        if any(sql.search(said) for said in strings(module)):
            found.add(module)
        if column in assigned(module) and row in (ROOT / module).read_text():
            found.add(module)
        for what, given in called(module):
            if what.split(".")[-1] in ("insert", "update") and given[:1] == [row]:
                found.add(module)
    return found


def test_stages_are_written_by_one_verb() -> None:
    # core/training/fitting.py's zero_stage is another word.
    assert (
        writers("versions", "stage", "Version") - {"core/catalog/withdrawals.py"} == STAGE_WRITERS
    )
    for module in ours():
        made = [args for what, args in called(module) if what == "Version"]
        assert not made or module == "core/catalog/versions.py"
    assert "stage=" not in (ROOT / "core/catalog/versions.py").read_text()


def test_aliases_are_written_by_one_module() -> None:
    assert writers("aliases", "target", "Alias") == ALIAS_WRITERS


def test_admissions_are_written_by_the_door_and_ended_by_the_sweep() -> None:
    assert writers("gate_passes", "audit", "Pass") <= PASS_WRITERS
    made = {m for m in ours() if any(what == "Pass" for what, _ in called(m))}
    assert made == PASS_WRITERS


def test_the_gates_policy_is_set_by_the_verb_that_looks_at_what_stands() -> None:
    assert {
        m for m in ours() if any(what == "service.go_by" for what, _ in called(m))
    } == POLICY_SETTERS
    assert writers("gates", "policy_name", "Gate") == {"core/gate/service.py"}


FUNCTIONS = [
    ("core/catalog/stages.py", "move", "door.admit"),
    ("core/catalog/aliases.py", "put", "_admitted"),
    ("core/catalog/aliases.py", "rollback", "_admitted"),
    ("core/catalog/aliases.py", "lead", "_admitted"),
    ("core/catalog/aliases.py", "_admitted", "door.admit"),
    ("core/catalog/offers.py", "offered", "gating.withheld"),
    ("core/catalog/standing.py", "standing", "gating.withheld"),
    ("core/catalog/standing.py", "leading", "gating.fit"),
]


@pytest.mark.parametrize(("module", "verb", "asks"), FUNCTIONS)
def test_each_verb_asks(module: str, verb: str, asks: str) -> None:
    (function,) = [
        node
        for node in ast.walk(tree(ROOT / module))
        if isinstance(node, ast.AsyncFunctionDef) and node.name == verb
    ]
    calls = {ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)}
    assert asks in calls


def test_what_moves_an_alias_or_a_stage_is_called_from_nowhere_but_here() -> None:
    """A new route or command is to be added to the list of those that tests/api/test_gate.py walks."""
    movers = {
        "stages.move", "stages.retire", "stages.withdraw", "aliases.put", "aliases.rollback",
        "aliases.lead", "aliases.remove",
    }  # fmt: skip
    found = {m: sorted({w for w, _ in called(m)} & movers) for m in ours()}
    assert {m: verbs for m, verbs in found.items() if verbs} == {
        "api/routes/catalog.py": [
            "aliases.put",
            "aliases.remove",
            "aliases.rollback",
            "stages.move",
        ],
        "api/routes/openai/models.py": ["stages.retire"],
        "core/catalog/withdrawals.py": ["aliases.lead", "stages.withdraw"],
        "infra/cli/models.py": ["aliases.rollback", "stages.move"],
    }
