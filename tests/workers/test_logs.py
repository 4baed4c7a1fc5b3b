"""A worker's log can be searched by job: one JSON line an event, with job, tenant and attempt."""

import json
from typing import Any

import httpx

from tests import asking
from tests.rig import Rig
from tests.waiting import until


def _lines(rig: Rig, job_id: str) -> list[dict[str, Any]]:
    text = (rig.folder / "logs" / "inference.log").read_text()
    found = [json.loads(line) for line in text.splitlines() if job_id in line and line[0] == "{"]
    return [line for line in found if line.get("job") == job_id]


async def test_each_line_of_an_attempt_says_whose_it_is(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    job = await asking.run(client, prompt="[error once]", max_tokens=30)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    until(
        lambda: _lines(rig, job["id"])[-1:] and "outcome" in _lines(rig, job["id"])[-1], "its end"
    )
    lines = _lines(rig, job["id"])
    assert {line["process"] for line in lines} == {"inference"}
    assert len({line["tenant"] for line in lines}) == 1
    claims = [line["attempt"] for line in lines if line["event"] == "claimed"]
    assert claims == [1, 2]
    traced = [line for line in lines if "RuntimeError: scripted" in line.get("exception", "")]
    assert [line["attempt"] for line in traced] == [1]


async def test_no_prompt_is_in_a_log(rig: Rig, client: httpx.AsyncClient) -> None:
    await asking.run(client, prompt="a secret as rare as hen's teeth [error]", max_tokens=30)
    for log in (rig.folder / "logs").glob("*.log"):
        assert "hen's teeth" not in log.read_text(errors="replace"), log.name
