"""The bias suites over HTTP, on the scripted engine: packs, uploads in the published formats, bad files refused."""

import httpx
import pytest

from core.audits.suites.bias import packs
from core.audits.suites.bias.listed import BIAS
from tests.auditing import AUDITS, audited, items, uploaded


async def test_every_bias_suite_runs_without_a_file(client: httpx.AsyncClient) -> None:
    wishes = [{"suite": suite.name, "items": 12} for suite in BIAS]
    audit = await audited(client, suites=wishes, policy="none")
    shown = {one["suite"]: one for one in audit["findings"]["suites"]}
    assert set(shown) == {suite.name for suite in BIAS}
    for suite in BIAS:
        one = shown[suite.name]
        assert (one["family"], one["items"]) == ("bias", 12)
        assert all(control["passed"] for control in one["controls"]), suite.name
        overall = {f["metric"] for f in one["figures"] if f["group"] == {}}
        assert overall == {metric.name for metric in suite.metrics}


@pytest.mark.parametrize("suite", ["bbq", "winobias", "counterfactual"])
async def test_what_is_asked_by_likelihood_can_be_written_too(
    client: httpx.AsyncClient, suite: str
) -> None:
    wish = {"suite": suite, "items": 10, "options": {"mode": "write"}}
    audit = await audited(client, suites=[wish], policy="none")
    answered = await items(client, audit["id"])
    # What is paired is drawn together: the last pair may not fit.
    assert 8 <= len(answered) <= 10
    assert all(len(row["answer"]["texts"]) == 1 for row in answered)


async def test_files_in_the_published_formats_are_audited_as_uploaded(
    client: httpx.AsyncClient,
) -> None:
    crows = await uploaded(client, packs.PACKS / "crows.csv")
    lines = {
        name: await uploaded(client, packs.PACKS / f"winobias_{name}.txt")
        for name in ("pro_t1", "anti_t1")
    }
    wishes = [{"suite": "crows-pairs", "file": crows}, {"suite": "winobias", "files": lines}]
    audit = await audited(client, suites=wishes, policy="none")
    counted = {one["suite"]: one["items"] for one in audit["findings"]["suites"]}
    assert counted == {"crows-pairs": 52, "winobias": 80}
    by_type = {
        tuple(figure["group"].items())
        for one in audit["findings"]["suites"]
        for figure in one["figures"]
        if one["suite"] == "winobias"
    }
    assert (("type", "1"),) in by_type


async def test_a_plan_refuses_a_bad_file_by_line_and_field(client: httpx.AsyncClient) -> None:
    bad = b"sent_more,sent_less,stereo_antistereo,bias_type\na,b,sideways,age\n"
    file = await uploaded(client, bad, name="c.csv")
    body = {"suites": [{"suite": "crows-pairs", "file": file}], "policy": "none"}
    refused = await client.post(f"{AUDITS}/plan", json=body)
    assert refused.status_code == 422
    told = refused.json()["error"]
    assert "line 2: field 'stereo_antistereo'" in told["message"]
    assert '"sideways"' in told["message"]
    assert told["param"].endswith("files.data")
