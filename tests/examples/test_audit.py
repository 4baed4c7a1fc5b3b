"""examples/audit.py against a running Penstock."""

import asyncio
import sys

from tests.rig import ROOT, Rig


async def test_the_example_shows_the_plan_the_course_and_the_verdict(rig: Rig, key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/audit.py", rig.base_url, key, "accuracy"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2, errors.decode()
    lines = out.decode().strip().splitlines()
    assert lines[0].startswith("accuracy: ")
    assert any(line.startswith("  INCONCLUSIVE ") for line in lines)
    assert any(line.startswith("accuracy.exact: 0.") for line in lines)
    assert lines[-1].startswith("INCONCLUSIVE /v1/audits/job_")
