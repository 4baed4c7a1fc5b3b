"""Parameters counted from a configuration equal those that torch counts on its meta device."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from core.catalog import sizes
from core.errors import InvalidInput

RILL = Path(__file__).parents[2] / "core" / "model" / "rill"
# The numbers of the models that each size has its shape from (docs/training-sizes.md).
PUBLISHED = {"1B": 1_235_814_400, "7B": 6_738_415_616, "30B": 32_528_943_616}
SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
}
FAMILIES: list[dict[str, Any]] = [
    {"model_type": "llama"},
    {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 10},
    {"model_type": "llama", "tie_word_embeddings": True},
    {"model_type": "mistral", "head_dim": 8},
    {"model_type": "qwen2", "tie_word_embeddings": True},
    {"model_type": "qwen3", "head_dim": 12},
    {"model_type": "qwen3", "head_dim": 12, "attention_bias": True},
]


def on_meta(config: dict[str, Any]) -> PreTrainedModel:
    """The model without a byte of weights."""
    known = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
    with torch.device("meta"):
        of = AutoConfig.for_model(config["model_type"], **known)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(of)
    return model


def counted(model: torch.nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize("name", sizes.PRESETS)
def test_a_size_has_as_many_parameters_as_torch_counts(name: str) -> None:
    config = sizes.preset(name)
    assert sizes.parameters(config) == counted(on_meta(config)) == PUBLISHED[name]


def test_rill_has_as_many_parameters_as_torch_counts() -> None:
    config = sizes.configuration(RILL)
    assert sizes.parameters(config) == counted(on_meta(config))


@pytest.mark.parametrize("family", FAMILIES, ids=json.dumps)
def test_each_family_is_counted_as_torch_counts_it(family: dict[str, Any]) -> None:
    # Families differ in whether the ends are tied by default; a folder's config.json always says.
    config = {"tie_word_embeddings": False, **SMALL, **family}
    model = on_meta(config)
    assert sizes.parameters(config) == counted(model)
    of = sizes.shape(config)
    assert of.layer == sum(p.numel() for p in model.model.layers[0].parameters())


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], ["down_proj"]])
@pytest.mark.parametrize("name", ["1B", "rill"])
def test_an_adapter_is_counted_as_peft_makes_it(name: str, targets: str | list[str]) -> None:
    config = sizes.configuration(RILL) if name == "rill" else sizes.preset(name)
    lora = LoraConfig(r=16, target_modules=targets, task_type="CAUSAL_LM")
    with torch.device("meta"):
        model = get_peft_model(on_meta(config), lora)
    assert sizes.adapter_parameters(config, 16, targets) == counted(model, trained=True)


def test_what_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"type 'mamba'.*llama, mistral"):
        sizes.parameters({"model_type": "mamba"})
    with pytest.raises(InvalidInput, match="lacks 'vocab_size'"):
        sizes.parameters({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2})
    with pytest.raises(InvalidInput, match=r"no size '3B'.*1B, 7B, 30B"):
        sizes.preset("3B")
    with pytest.raises(InvalidInput, match=r"lm_head: a layer has q_proj"):
        sizes.adapter_parameters(sizes.preset("1B"), 8, ["lm_head"])
    with pytest.raises(InvalidInput, match=r"config.json cannot be read"):
        sizes.configuration(RILL / "none")
