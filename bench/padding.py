"""Figure 9: how much of a batch is padding, beside what Hugging Face's and TRL's own ways leave; rows a second."""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl.data_utils import pack_dataset

from bench.figure import Figure, spread
from core.config import MODEL_FOLDER
from tests.rig import ROOT, Rig
from workers.data import padding

ROWS, ROUNDS, BATCH, MOST = 20_000, 3, 8, 1024
# Words of an answer: a log-normal of this median and spread is close to what chat sets have (many answers of a
# sentence or two, few of a page), cut at MOST tokens.
MEDIAN, SPREAD = 60, 1.0
STAGES = ("reading", "filtering", "tokenising", "packing")
WAYS = {
    "none": {},
    "all": {
        "preset": "web", "min_words": 1, "languages": ["en"], "language_confidence": 0.0,
        "quality": False, "lines": False, "repetition": True,
    },
}  # fmt: skip


def measure(_: Rig) -> Figure:
    with tempfile.TemporaryDirectory(prefix="penstock-padding-") as name:
        folder = Path(name)
        write(folder / "train.jsonl")
        runs = {way: [run(folder, f"{way}{n}", WAYS[way]) for n in range(ROUNDS)] for way in WAYS}
        waste = compared(folder / "none0")
    mine = waste["ours, packed"]
    rows = [(way, f"{share:.1%}") for way, share in waste.items()]
    for way, made in runs.items():
        label = "rows a second, nothing filtered" if way == "none" else "rows a second, all filters"
        rows.append((label, spread([ROWS / sum(one["seconds"].values()) for one in made])))
        rows += [(f"  {s}, s", spread([one["seconds"][s] for one in made], 2)) for s in STAGES]
        rows.append(("  peak memory, MiB", spread([one["peak_bytes"] / 2**20 for one in made])))
    return Figure(
        "padding", "9. Padding, and the data pipeline's speed", ("", ""), rows,
        f"no more padding than TRL's own packing leaves (ours {mine:.2%}, TRL's {waste['TRL, packed']:.2%})",
        mine <= waste["TRL, packed"] + 0.001,
        _notes(),
        {"waste": waste},
    )  # fmt: skip


def _notes() -> list[str]:
    made = (
        f"{ROWS} chats of log-normal length (median {MEDIAN} words of answer, sigma {SPREAD}), at most {MOST} tokens, "
        f"in batches of {BATCH}: the share of a batch that is padding when it is filled up to its longest row."
    )
    ways = (
        "naive: random batches. Hugging Face: `get_length_grouped_indices`, what `group_by_length` does. TRL: "
        '`pack_dataset(strategy="bfd")`, in random batches. Ours: workers/data/order.py and packing.py.'
    )
    return [
        made,
        ways,
        f"A process a round, {ROUNDS} rounds, its start and imports not counted; one core.",
        "All filters: most rows go as near-duplicates, since all are taken from one text.",
    ]


def write(path: Path) -> None:
    """Chats out of the shipped model's own prose."""
    chance = random.Random(7)
    prose = (ROOT / "core/model/rill_text/prose.txt").read_text().split()
    with path.open("w") as file:
        for number in range(ROWS):
            words = min(700, max(1, int(MEDIAN * chance.lognormvariate(0, SPREAD))))
            at = chance.randrange(len(prose))
            said = " ".join((prose * 2)[at : at + words])
            ask = f"Question {number}: " + " ".join(
                chance.choices(prose, k=chance.randrange(3, 20))
            )
            turn = [{"role": "user", "content": ask}, {"role": "assistant", "content": said}]
            file.write(json.dumps({"messages": turn}) + "\n")


def run(folder: Path, name: str, filters: dict[str, Any]) -> dict[str, Any]:
    """The last event of one run; its folder stays."""
    plan = {
        "sources": [{"path": str(folder / "train.jsonl")}], "tokenizer": str(MODEL_FOLDER), "max_length": MOST,
        "batch_size": BATCH, "filters": filters, "packing": name != "none0", "out": str(folder / name),
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, "-m", "workers.data", str(folder / "plan.json")],
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "done", last
    return last


def compared(folder: Path) -> dict[str, float]:
    """Shares of padding; the first run wrote the documents unpacked, which the peers need."""
    read = datasets.load_from_disk(str(folder / "train"))
    lengths = [len(ids) for ids in read["input_ids"]]
    ours = padding.compared(lengths, MOST, BATCH, 7)
    group: Any = get_length_grouped_indices  # it has no types
    grouped = group(lengths, BATCH)
    packed = pack_dataset(read.select_columns(["input_ids"]), seq_length=MOST, strategy="bfd")
    sizes = [len(ids) for ids in packed["input_ids"]]
    order = list(map(int, np.random.default_rng(7).permutation(len(sizes))))
    return {
        "naive": ours["naive"],
        "Hugging Face, grouped by length": padding.waste(lengths, _batches(grouped)),
        "ours, bucketed": ours["bucketed"],
        "TRL, packed": padding.waste(sizes, _batches(order)),
        "ours, packed": ours["packed"],
    }


def _batches(order: list[int]) -> list[list[int]]:
    return [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
