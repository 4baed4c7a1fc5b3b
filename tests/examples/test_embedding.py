"""examples/embedding.py against a running Penstock."""

import asyncio
import sys

import pytest

from tests.rig import ROOT, Rig

pytestmark = pytest.mark.usefixtures("embedder")


async def test_the_example_prints_the_closest_text_first(rig: Rig, key: str) -> None:
    texts = ("the mill was sold", "how deep the river is")
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "examples/embedding.py",
            rig.base_url,
            key,
            "how deep is the river",
            *texts,
        ),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    first, last = out.decode().strip().splitlines()
    assert first == f"1.00  {texts[1]}"
    assert last.endswith(texts[0])
