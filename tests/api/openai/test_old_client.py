"""The client of the 1.x line, which most installations still have, in a process and a folder of its own."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.db.session import Database
from tests.api.openai.training import by_hand
from tests.rig import ROOT, Rig

VERSION = "1.109.1"
# What it needs and ours does not bring: `--no-deps` keeps it to seconds and leaves everything else as it is.
PACKAGES = (f"openai=={VERSION}", "jiter<1", "distro<2", "sniffio<2")


@pytest.fixture(scope="session")
def old_client(request: pytest.FixtureRequest) -> Path:
    """A folder with the package, kept from one run to the next in pytest's cache."""
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir(f"openai-{VERSION}"))
    if not (folder / f"openai-{VERSION}.dist-info").is_dir():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade")
        done = subprocess.run(
            [*pip, "--target", str(folder), *PACKAGES], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"pip could not bring openai {VERSION}: {done.stderr.strip()[-300:]}")
    return folder


async def test_the_old_client_gets_the_same(
    rig: Rig, db: Database, key: str, old_client: Path
) -> None:
    await by_hand(db, key)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tests/api/openai/old_client.py"), f"{rig.base_url}/v1", key,
        env=os.environ | {"PYTHONPATH": str(old_client)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    got = json.loads(out)
    assert got["version"] == VERSION
    assert got["whole"] == got["streamed"]
    assert len(set(got["whole"])) == 2
    assert got["usage"] == [True, True]
    assert "".join(got["logprobs"]) == got["whole"][0]
    assert len(got["completions"]) == 2
    numbers, again, status = got["response"]
    assert numbers == list(range(len(numbers)))
    assert (again, status) == (numbers[5:], "incomplete")
    assert "rill" in got["models"]
    assert got["called"]
    assert got["batch"] == ["completed", True]
    assert got["tuning"] == [2, ["Created fine-tuning job"], [True], [], "cancelled"]
    assert got["files"] == [["first", "second"], ["a.jsonl", "b.jsonl"], [True, True], 0]
    assert (got["refused"], got["missing"]) == ("temperature", "model_not_found")
