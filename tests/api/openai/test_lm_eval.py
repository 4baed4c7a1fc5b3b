"""lm-eval scores a model through the API as it does in its own process, to 1e-3 in float32."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.config import MODEL_FOLDER
from core.ids import new_id
from tests.rig import ROOT, Rig

pytestmark = pytest.mark.engine

QUESTIONS: list[dict[str, Any]] = [
    {"q": "The river runs", "choices": ["of stone", "down to the sea", "green ideas"], "a": 1},
    {"q": "One day a small robot", "choices": ["found a seed", "the of and", "xylophone"], "a": 0},
    {"q": "Question: What is water? Answer:", "choices": ["yes", "a liquid", "Tuesday"], "a": 1},
    {"q": "def add(a, b):", "choices": [" return a + b", " the teacher"], "a": 0},
]
TEXTS = [
    "The mill stood by the river. It was an old mill, and the wind was in the trees.",
    "One day the badger found a lamp. Déjà vu, said the owl, and the lamp went out.",
]
CHOICE = """
task: little_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{folder}/questions.jsonl"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{a}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
ROLLING = """
task: little_texts
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{folder}/texts.jsonl"}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: bits_per_byte}}]
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small tasks on local data."""
    folder = Path(tmp_path_factory.mktemp("tasks"))
    lines = [json.dumps(one) for one in QUESTIONS]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    (folder / "texts.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS))
    (folder / "little_choice.yaml").write_text(CHOICE.format(folder=folder))
    (folder / "little_texts.yaml").write_text(ROLLING.format(folder=folder))
    return folder


class Evaluation(NamedTuple):
    """`arguments`: lm-eval's model_args. `tasks`: a folder of task files, all of which are evaluated."""

    model: str
    arguments: str
    tasks: Path


async def evaluated(folder: Path, key: str = "", **asked: Evaluation) -> dict[str, dict[str, Any]]:
    """What lm-eval finds, by the names of `asked`; `folder` is for its cache and its answer."""
    out = folder / "evaluated.json"
    script = ROOT / "tests/api/openai/lm_eval_run.py"
    orders = json.dumps({name: one._asdict() for name, one in asked.items()}, default=str)
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", str(script), orders, str(out),
        env=os.environ | offline | {"OPENAI_API_KEY": key, "HF_DATASETS_CACHE": str(folder / "hf"),
                                    "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(out.read_text())
    return found


async def test_its_numbers_are_those_of_the_same_weights_in_process(
    engine_rig: Rig, tasks: Path
) -> None:
    key = await engine_rig.key(new_id("t"))
    done = await evaluated(
        tasks,
        key,
        through=Evaluation(
            "local-completions",
            f"model={MODEL_FOLDER.name},base_url={engine_rig.base_url}/v1/completions,"
            f"tokenizer={MODEL_FOLDER},tokenizer_backend=huggingface,num_concurrent=4,max_retries=1",
            tasks,
        ),
        # Through an API lm-eval adds no mark to a text; in process it does, unless told.
        direct=Evaluation(
            "hf", f"pretrained={MODEL_FOLDER},dtype=float32,add_bos_token=False", tasks
        ),
    )
    through, direct = done["through"], done["direct"]
    assert (
        through["numbers"].keys() == direct["numbers"].keys() == {"little_choice", "little_texts"}
    )
    for task, samples in direct["numbers"].items():
        for mine, theirs in zip(through["numbers"][task], samples, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-3), task
    # A perplexity is the exponential of those numbers, and so large here that only its ratio says anything.
    assert through["metrics"] == pytest.approx(direct["metrics"], rel=1e-3, abs=1e-3)
    assert len(through["metrics"]) >= 4
