"""The steps of a correction that need no database: what the second audit asks."""

from typing import Any

from core.gate.tables import Audit
from core.studies.steps import second_wish


def audit(**settings: Any) -> Audit:
    def suite(name: str) -> dict[str, Any]:
        return {
            "name": name, "version": "1", "files": {"data": {"id": "file_1", "sha256": "a" * 64}},
            "options": {"mode": "write"}, "items": 40, "split": "all", "classifier": None,
        }  # fmt: skip

    known = {"seed": 7, "render": "plain", "confidence": 0.9, "imports": [], "served": "d"}
    return Audit(
        job_id="job_1", tenant_id="t", model="rill", weights="w", adapter="", dataset="",
        suites=[suite("counterfactual"), suite("accuracy")], policy={"name": "p"}, policy_name="p",
        policy_version=3, policy_digest="d", settings=known | settings, plan={},
    )  # fmt: skip


def test_the_second_audit_is_the_first_on_what_was_held_out() -> None:
    wish = second_wish(audit(), ["counterfactual"], "ft:rill:better")
    corrected, other = wish.suites
    assert (corrected.split, other.split) == ("held_out", "all")
    assert corrected.files == {"data": "file_1"}
    assert (corrected.options, corrected.items) == ({"mode": "write"}, 40)
    assert (wish.model, wish.policy) == ("ft:rill:better", "p@3")


def test_before_and_after_are_drawn_and_asked_alike() -> None:
    """Another seed would draw other items, of which none may be in both; another rendering is another question."""
    wish = second_wish(audit(), ["counterfactual"], "ft:rill:better")
    assert (wish.seed, wish.render, wish.confidence) == (7, "plain", 0.9)
