"""examples/finetune.py against a running Penstock, with the real engine and the real trainer; and its task."""

import asyncio
import dataclasses
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from core.ids import new_id
from tests.rig import ROOT, Rig

TICKETS = ROOT / "examples" / "data" / "tickets"
SPLITS = ("train", "validation", "test")


@pytest.mark.engine
@pytest.mark.timeout(480)  # a minute and a half alone on two cores; CI shares them
async def test_the_example_takes_the_model_from_nothing_to_nine_of_ten(engine_rig: Rig) -> None:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "examples/finetune.py",
            engine_rig.base_url,
            await engine_rig.key(new_id("t")),
        ),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 360)
    said = out.decode()
    sys.stdout.write(said)
    assert process.returncode == 0, said + errors.decode()
    bars = [line for line in said.partition("right to the letter")[2].splitlines() if "%" in line]
    before, after, familiar = (float(bar.split()[1].rstrip("%")) for bar in bars)
    assert before < 30
    assert after > 90
    assert familiar > 90
    assert bars[1].split()[2].startswith("ft:rill:")


async def test_the_task_is_what_its_script_writes(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/data/write_tickets.py", str(tmp_path)), cwd=ROOT
    )
    assert await process.wait() == 0
    for split in SPLITS:
        written = (tmp_path / f"{split}.jsonl").read_bytes()
        assert written == (TICKETS / f"{split}.jsonl").read_bytes(), split


def test_the_test_split_says_nothing_that_the_training_split_says() -> None:
    phrases = runpy.run_path(str(TICKETS.parent / "ticket_phrases.py"))
    trained, tested = (dataclasses.asdict(phrases[side]) for side in ("TRAINING", "TEST"))
    for kind, sentences in tested.items():
        known = re.compile("|".join(map(choices, filter(None, trained[kind]))))
        assert not [one for one in sentences if known.fullmatch(one)], kind
    said = {split: set(messages(split)) for split in SPLITS}
    assert len(said["validation"] | said["train"]) == len(said["validation"]) + len(said["train"])


def choices(sentence: str) -> str:
    """`(this|that)` as the expression that matches either; everything else as it is."""
    parts = re.split(r"(\([^()]*\|[^()]*\))", sentence)
    return "".join(
        part if part.startswith("(") and "|" in part else re.escape(part) for part in parts
    )


def test_the_small_training_file_of_other_tests_is_the_head_of_the_training_split() -> None:
    small = (ROOT / "tests" / "data" / "finetune_small.jsonl").read_text().splitlines()
    assert small == (TICKETS / "train.jsonl").read_text().splitlines()[: len(small)]


def messages(split: str) -> list[str]:
    lines = (TICKETS / f"{split}.jsonl").read_text().splitlines()
    return [json.loads(line)["messages"][0]["content"] for line in lines]
