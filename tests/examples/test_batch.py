"""examples/batch.py against a running Penstock."""

import asyncio
import sys

from tests.rig import ROOT, Rig


async def test_the_example_prints_every_answer(rig: Rig, key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/batch.py", rig.base_url, key, "The river", "The mill"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    *answers, last = out.decode().strip().splitlines()
    assert last == "batch.completed"
    assert sorted(one.partition(":")[0] for one in answers) == ["The mill", "The river"]
