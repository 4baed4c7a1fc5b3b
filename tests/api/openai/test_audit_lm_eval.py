"""An audit's likelihoods are those of lm-eval: same choices, same numbers to 1e-3, of the same weights."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.audits.suites.quality import questions
from core.config import MODEL_FOLDER
from core.ids import new_id
from tests.api.openai.test_lm_eval import Evaluation, evaluated
from tests.auditing import audited, items, uploaded
from tests.rig import Rig

# A real engine, then lm-eval with its own copy of the weights: minutes where others share the machine.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

# Contexts that end in blanks, and choices of several bytes a character: where tokens are easily cut wrong.
AWKWARD: list[dict[str, Any]] = [
    {"question": "The answer is: ", "choices": ["yes", "no"], "answer": 1},
    {"question": "Two lines\n\n", "choices": ["and a third", "déjà vu"], "answer": 0},
    {"question": "  leading blanks", "choices": ["über", "unter", "neben"], "answer": 2},
    {"question": "x", "choices": ["y", "yy", "yyy", "yyyy"], "answer": 3},
]
CHOICE = r"""
task: asked
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}, {{metric: acc_bytes}}]
"""
ROLLING = r"""
task: asked
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}} {{{{choices[0]}}}}."
metric_list: [{{metric: word_perplexity}}, {{metric: byte_perplexity}}, {{metric: bits_per_byte}}]
"""


def asked() -> list[dict[str, Any]]:
    pack = [json.loads(line) for line in questions.PACK.read_text().splitlines()]
    kept = [{name: one[name] for name in ("question", "choices", "answer")} for one in pack]
    return [*kept[::2], *AWKWARD, *kept[1:17:2]][:42]


def task(folder: Path, body: str) -> Path:
    folder.mkdir()
    data = folder / "data.jsonl"
    data.write_text("\n".join(json.dumps(one) for one in asked()))
    (folder / "asked.yaml").write_text(body.format(data=data))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("asked"))


@pytest.fixture(scope="module")
async def theirs(folder: Path) -> dict[str, dict[str, Any]]:
    """What lm-eval itself finds: of "choices", and of "texts"."""
    hf = f"pretrained={MODEL_FOLDER},dtype=float32"
    # With its mark in front lm-eval scores the mark itself, too; a text is scored here and nothing else.
    return await evaluated(
        folder,
        choices=Evaluation("hf", hf, task(folder / "choices", CHOICE)),
        texts=Evaluation("hf", f"{hf},add_bos_token=False", task(folder / "texts", ROLLING)),
    )


@pytest.fixture(scope="module")
async def client(engine_rig: Rig) -> Any:
    async with engine_rig.client(await engine_rig.key(new_id("t"))) as found:
        yield found


async def test_its_choices_and_log_likelihoods_are_those_of_lm_eval_in_process(
    client: httpx.AsyncClient, theirs: dict[str, dict[str, Any]], folder: Path
) -> None:
    file = await uploaded(client, folder / "choices" / "data.jsonl")
    of_task = {"task": await uploaded(client, folder / "choices" / "asked.yaml"), "data": file}
    audit = await audited(
        client, policy="none", baseline=None, timeout_s=240,
        suites=[{"suite": "accuracy", "file": file}, {"suite": "lm-eval", "files": of_task}],
    )  # fmt: skip
    numbers = theirs["choices"]["numbers"]["asked"]
    assert len(numbers) == len(asked()) >= 40
    for suite in ("accuracy", "lm-eval"):
        mine = [
            [likely[0] for likely in row["answer"]["likelihoods"]]
            for row in await items(client, audit["id"], suite=suite)
        ]
        assert [one.index(max(one)) for one in mine] == [one.index(max(one)) for one in numbers]
        for number, (said, other) in enumerate(zip(mine, numbers, strict=True)):
            assert said == pytest.approx(other, abs=1e-3), (suite, asked()[number])
    figures = found(audit)
    for lm_eval, ours in (
        ("acc", "accuracy.exact"), ("acc_norm", "accuracy.norm@lm-eval"), ("acc_bytes", "accuracy.bytes@lm-eval"),
    ):  # fmt: skip
        wanted = theirs["choices"]["metrics"][f"asked {lm_eval},none"]
        assert figures[ours] == figures[f"lm-eval.asked.{lm_eval}"] == pytest.approx(wanted)


async def test_its_figures_of_whole_texts_are_those_of_lm_eval(
    client: httpx.AsyncClient, theirs: dict[str, dict[str, Any]], folder: Path
) -> None:
    of_task = {
        "task": await uploaded(client, folder / "texts" / "asked.yaml"),
        "data": await uploaded(client, folder / "texts" / "data.jsonl"),
    }
    audit = await audited(
        client, policy="none", baseline=None, timeout_s=240,
        suites=[{"suite": "lm-eval", "files": of_task}],
    )  # fmt: skip
    mine = [row["answer"]["likelihoods"][0][0] for row in await items(client, audit["id"])]
    assert mine == pytest.approx([one[0] for one in theirs["texts"]["numbers"]["asked"]], abs=1e-3)
    figures = found(audit)
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        wanted = theirs["texts"]["metrics"][f"asked {name},none"]
        assert figures[f"lm-eval.asked.{name}"] == pytest.approx(wanted, rel=1e-3)


def found(audit: dict[str, Any]) -> dict[str, float]:
    """The figures of whole suites by metric."""
    return {
        figure["metric"]: figure["estimate"]["value"]
        for suite in audit["findings"]["suites"]
        for figure in suite["figures"]
        if not figure["group"]
    }
