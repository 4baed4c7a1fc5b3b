"""What a test asks of the API, in its own words: submit this, wait for that, read the error."""

from typing import Any

import httpx

from tests.waiting import PATIENCE_S, eventually

JOBS = "/v1/jobs"
SPEC: dict[str, Any] = {"kind": "inference", "prompt": "The river", "max_tokens": 5}
TERMINAL = {"succeeded", "failed", "cancelled", "expired"}
# At 2 ms a token about three seconds: long enough to be met while it runs.
LONG = 1500


async def submit(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The job that was accepted."""
    answer = await client.post(JOBS, json=SPEC | fields)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def get(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    answer = await client.get(f"{JOBS}/{job_id}")
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def reached(
    client: httpx.AsyncClient, job_id: str, *states: str, timeout_s: float = PATIENCE_S
) -> dict[str, Any]:
    """The job once it is in one of `states`."""

    async def there() -> dict[str, Any] | None:
        job = await get(client, job_id)
        return job if job["state"] in states else None

    found = await eventually(there, f"{job_id} {' or '.join(states)}", timeout_s)
    assert found is not None
    return found


async def ended(
    client: httpx.AsyncClient, job_id: str, *, timeout_s: float = PATIENCE_S
) -> dict[str, Any]:
    return await reached(client, job_id, *TERMINAL, timeout_s=timeout_s)


async def run(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """Submit a job and wait for its end."""
    job = await submit(client, **fields)
    return await ended(client, job["id"])


def error(answer: httpx.Response, status: int, param: str | None = None) -> dict[str, Any]:
    """The error of an answer, whose envelope is checked. `param`: the field it must name."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    found: dict[str, Any] = body["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found["message"]
    assert found["type"]
    if param is not None:
        assert found["param"] == param, found
    return found
