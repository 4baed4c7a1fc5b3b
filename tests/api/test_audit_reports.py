"""GET /v1/audits/{id}/report: JSON for programs, a page for people, and to nobody else what is not theirs."""

import httpx
import pytest

from core.audits.report.page import SECURITY
from tests import asking
from tests.auditing import audited, graded, submitted
from tests.core.audits.report.reading_html import seen
from tests.rig import Rig


async def test_the_report_of_an_audit_says_what_the_audit_does(client: httpx.AsyncClient) -> None:
    audit = await audited(client, suites=[await graded(client)], policy="none")
    report = (await client.get(f"/v1/audits/{audit['id']}/report")).json()
    assert (report["object"], report["id"]) == ("audit.report", audit["id"])
    assert (report["verdict"], report["state"]) == (audit["verdict"], "succeeded")
    (suite,) = report["suites"]
    told = {one["metric"]: one["estimate"] for one in audit["findings"]["suites"][0]["figures"]}
    assert {one["metric"]: one["estimate"] for one in suite["figures"]} == {
        name: told[name] for name in ("graded.passed", "graded.exact")
    }
    assert suite["figures"][0]["title"] == "Answers that pass every grader"
    assert len(suite["worst"]["items"]) == 10
    assert report["job"]["usage"]["completion_tokens"] > 0


async def test_a_browser_gets_a_page_and_a_program_json(client: httpx.AsyncClient) -> None:
    audit = await audited(client, suites=[await graded(client, 12)], policy="none")
    path = f"/v1/audits/{audit['id']}/report"
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    shown = await client.get(path, headers=browser)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert shown.headers["content-security-policy"] == SECURITY
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert shown.headers["cache-control"] == "private, no-store"
    assert shown.headers["vary"] == "Accept"
    page = seen(shown.text)
    assert not page.wrong
    assert "INCONCLUSIVE" in page.text
    assert (await client.get(path)).headers["content-type"] == "application/json"
    for accept, query, kind in (
        ("application/json;q=0.5, text/html", "", "text/html"),
        ("application/json, text/html;q=0.5", "", "application/json"),
        ("text/html;q=x", "", "application/json"),
        ("text/html", "?format=json", "application/json"),
        ("application/json", "?format=html", "text/html"),
    ):
        answer = await client.get(path + query, headers={"accept": accept})
        assert answer.headers["content-type"].startswith(kind), accept


async def test_an_audit_that_runs_has_a_page_that_says_so(client: httpx.AsyncClient) -> None:
    slow = await graded(client, 200, max_tokens=400)
    job = await submitted(client, suites=[slow], policy="none")
    path = f"/v1/audits/{job['id']}/report"
    shown = await client.get(path, params={"format": "html"})
    assert shown.status_code == 200
    assert "No figure" not in shown.text
    assert seen(shown.text).text.count("This audit") == 1
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    await asking.ended(client, job["id"])
    report = (await client.get(path)).json()
    assert (report["state"], report["verdict"], report["suites"]) == ("cancelled", None, [])


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("job_01kaq0v9ej6xk0m3c8s5t1w2yz/report", 404, "audit_id"),
        ("job_x/report", 422, "job_id"),
        ("job_01kaq0v9ej6xk0m3c8s5t1w2yz/report?format=pdf", 422, "format"),
        ("job_01kaq0v9ej6xk0m3c8s5t1w2yz/report?x=1", 422, "x"),
    ],
)
async def test_what_is_not_there_or_not_asked_rightly_is_refused(
    client: httpx.AsyncClient, path: str, status: int, param: str
) -> None:
    asking.error(await client.get(f"/v1/audits/{path}"), status, param)


async def test_a_job_of_another_kind_has_no_report(client: httpx.AsyncClient) -> None:
    job = await asking.run(client)
    asking.error(await client.get(f"/v1/audits/{job['id']}/report"), 404, "audit_id")


async def test_another_tenant_finds_no_report(client: httpx.AsyncClient, rig: Rig) -> None:
    audit = await audited(client, suites=[await graded(client, 12)], policy="none")
    async with rig.client(await rig.key(f"other-{audit['id']}")) as other:
        for query in ("", "?format=html"):
            answer = await other.get(f"/v1/audits/{audit['id']}/report{query}")
            asking.error(answer, 404, "audit_id")
