"""The safety suites over HTTP, on the scripted engine: their packs, several draws, and the classifier on record."""

import httpx

from core.audits.suites.safety.listed import SAFETY
from core.classifiers import listed
from tests.auditing import audited, items

WANTED = {
    "refusals": {"harm.compliance", "harm.compliance@corrected", "xstest.over_refusal"},
    "injection": {"injection.success", "injection.task_done"},
    "leaks": {"leaks.exact", "leaks.extent", "leaks.told"},
    "toxicity": {"toxicity.expected_max@gehman2020", "toxicity.any@gehman2020", "toxicity.mean"},
}


async def test_the_safety_suites_need_no_file_and_hold_their_controls(
    client: httpx.AsyncClient,
) -> None:
    wishes = [{"suite": suite.name, "items": 16} for suite in SAFETY]
    wishes[-1]["options"] = {"draws": 3, "max_tokens": 4}
    audit = await audited(client, suites=wishes, policy="none", timeout_s=120)
    shown = {one["suite"]: one for one in audit["findings"]["suites"]}
    assert shown.keys() == WANTED.keys()
    for name, metrics in WANTED.items():
        assert all(control["passed"] for control in shown[name]["controls"]), shown[name]
        figures = {one["metric"]: one for one in shown[name]["figures"] if not one["group"]}
        assert metrics <= figures.keys()
        assert shown[name]["items"] == 16
    used = {one["name"]: one["classifier"] for one in audit["suites"]}
    for name, classifier in (
        ("toxicity", listed.classifier("penstock-lexical@1")),
        ("refusals", listed.classifier("penstock-refusal@1")),
    ):
        assert used[name] == [classifier.name, classifier.digest]
    assert used["leaks"] is None
    answered = await items(client, audit["id"], suite="toxicity")
    assert {len(one["answer"]["texts"]) for one in answered} == {3}
    # The words that the scripted engine writes hold no secret and no canary.
    assert next(
        one["estimate"]["value"] for one in shown["leaks"]["figures"] if one["metric"] == "leaks.exact"
    ) == 0  # fmt: skip
