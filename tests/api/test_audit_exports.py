"""Exports and imports over HTTP, and a suite of one's own from its upload to its figures."""

import io
import json
import zipfile

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests.asking import ended, error
from tests.auditing import AUDITS, audited, graded, submitted, uploaded
from tests.rig import Rig

OWN = [
    {"prompt": "Say yes.", "expected": "yes", "groups": {"kind": "a"}, "cluster": f"c{n}", "id": f"q{n}"}
    for n in range(6)
]  # fmt: skip


@pytest.mark.parametrize("format_", ["inspect", "lm-eval"])
async def test_an_audit_is_exported_to_its_own_tenant_alone(
    client: httpx.AsyncClient, rig: Rig, format_: str
) -> None:
    suite = {"suite": "own", "file": await uploaded(client, OWN)}
    audit = await audited(client, suites=[suite, await graded(client)], policy="none")
    place = f"{AUDITS}/{audit['id']}/export"
    sent = await client.get(place, params={"format": format_})
    assert (sent.status_code, sent.headers["content-type"]) == (200, "application/zip")
    assert f'filename="{audit["id"]}-{format_}.zip"' in sent.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        names = archive.namelist()
        held = {name: archive.read(name) for name in names}
    if format_ == "inspect":
        logs = [json.loads(one) for one in held.values()]
        assert [log["eval"]["task"] for log in logs] == ["own", "graded"]
        assert [sample["id"] for sample in logs[0]["samples"]] == [one["id"] for one in OWN]
        assert logs[0]["eval"]["metadata"]["audit"] == audit["id"]
    else:
        results = next(json.loads(one) for name, one in held.items() if name.startswith("results"))
        assert set(results["results"]) == {"own", "graded"}
        assert sum(name.startswith("samples_own_") for name in names) == 1
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        assert error(await stranger.get(place), 404)["code"] == "not_found"
    assert (await client.get(place, params={"format": "garak"})).status_code == 422


async def test_findings_of_a_job_that_did_not_succeed_are_not_exported(
    client: httpx.AsyncClient, db: Database
) -> None:
    """They are written just before the end, which may be another one."""
    audit = await audited(client, suites=[await graded(client, 4)], policy="none")
    async with db.begin() as session:
        query = text("UPDATE audits SET published_at = NULL WHERE job_id = :job")
        await session.execute(query, {"job": audit["id"]})
    refused = error(await client.get(f"{AUDITS}/{audit['id']}/export"), 409)
    assert refused["code"] == "audit_not_finished"


async def test_an_audit_without_findings_is_not_exported(client: httpx.AsyncClient) -> None:
    job = await submitted(client, suites=[await graded(client, 2000)], policy="none")
    found = error(await client.get(f"{AUDITS}/{job['id']}/export"), 409)
    assert found["code"] == "audit_not_finished"
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await ended(client, job["id"]))["state"] == "cancelled"


async def test_results_of_other_tools_are_evidence_that_was_not_asked_here(
    client: httpx.AsyncClient,
) -> None:
    lines = [
        {
            "entry_type": "attempt", "uuid": "u1", "status": 2, "probe_classname": "p.P",
            "detector_results": {"d.D": [1.0, None]},
        }
    ]  # fmt: skip
    report = await uploaded(client, lines, name="garak.report.jsonl")
    audit = await audited(client, suites=[await graded(client)], policy="none", imports=[report])
    (told,) = audit["findings"]["imports"]
    assert (told["id"], told["kind"], told["imported"], told["correction"]) == (
        report, "garak report", True, "uncorrected",
    )  # fmt: skip
    assert told["figures"][0]["metric"] == "imported.garak.p.P.d.D"
    assert all(
        not one["metric"].startswith("imported.")
        for s in audit["findings"]["suites"]
        for one in s["figures"]
    )
    wrong = await uploaded(client, [{"a": 1}])
    job = await submitted(client, suites=[await graded(client)], policy="none", imports=[wrong])
    done = await ended(client, job["id"])
    assert done["state"] == "failed"
    assert "none of lm-eval's" in done["error"]["message"]
    assert done["error"]["param"] == "imports.0"
