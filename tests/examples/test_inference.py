"""examples/inference.py against a running Penstock."""

import asyncio
import sys

from tests.rig import ROOT, Rig


async def test_the_example_prints_an_answer(rig: Rig, key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/inference.py", rig.base_url, key, "The river"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    text, last = out.decode().strip().rsplit("\n", 1)
    assert last == "job.succeeded"
    assert text
