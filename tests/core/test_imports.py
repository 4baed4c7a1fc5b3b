"""What users bring is looked at before an engine does: a LoRA adapter that fits its base, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.catalog import headers, imports
from core.catalog.imports import CONFIG, WEIGHTS, check_adapter
from core.config import MODEL_FOLDER
from core.errors import InvalidInput, Refused
from tests.core.cataloguing import lora, tensors

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def test_an_adapter_of_the_shipped_model_is_taken(tmp_path: Path) -> None:
    check_adapter(lora(tmp_path), MODEL_FOLDER)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"peft_type": "IA3"}, "peft_type must be LORA"),
        ({"r": 0}, "a number from 1"),
        ({"r": "4"}, "a number from 1"),
        ({"r": 100_000}, "a number from 1"),
        ({"use_dora": True}, "use_dora is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is not supported"),
        ({"bias": "all"}, "bias is not supported"),
        ({"r": 8}, "the base needs"),
    ],
)
def test_what_an_engine_could_not_apply_is_refused(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    folder = lora(tmp_path)
    config = json.loads((folder / CONFIG).read_text()) | change
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(Refused, match=why):
        check_adapter(folder, MODEL_FOLDER)


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({}, "holds no tensors"),
        ({f"{LAYER}.lora_A.weight": [4, 7]}, "the base needs"),
        ({f"{LAYER}.lora_B.weight": [7, 4]}, "the base needs"),
        ({f"{LAYER}.weight": [4, 4]}, "no LoRA tensor"),
        ({"model.layers.0.self_attn.q_proj.lora_A.weight": [4, 4]}, "no LoRA tensor"),
        ({f"{LAYER.replace('.0.', '.99.')}.lora_A.weight": [4, 4]}, "does not have"),
        ({"base_model.model.model.norm.lora_A.weight": [4, 4]}, "does not have"),
    ],
)
def test_what_does_not_fit_the_base_is_refused(
    tmp_path: Path, shapes: dict[str, list[int]], why: str
) -> None:
    folder = lora(tmp_path)
    (folder / WEIGHTS).write_bytes(tensors(shapes))
    with pytest.raises(Refused, match=why) as refused:
        check_adapter(folder, MODEL_FOLDER)
    assert refused.value.param == WEIGHTS


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    _, into = headers.shapes(folder)[f"{LAYER}.lora_A.weight"]
    (folder / WEIGHTS).write_bytes(tensors({f"{LAYER}.lora_A.weight": [4, into]}))
    with pytest.raises(Refused, match=r"lora_B.weight' is missing"):
        check_adapter(folder, MODEL_FOLDER)


def test_a_base_that_is_not_to_be_seen_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not see the base's weights"):
        check_adapter(lora(tmp_path / "a"), tmp_path / "nowhere")


@pytest.mark.parametrize("names", [[CONFIG], [CONFIG, WEIGHTS, "x.json"], ["a.bin", "b.bin"], []])
def test_an_adapter_is_two_files(names: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        imports.check_names(dict.fromkeys(names, "file_x"))
    assert refused.value.param == "files"
