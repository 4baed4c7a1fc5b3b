"""What a pass is said to keep for its way back is what autograd saves, byte for byte."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from core.catalog import sizes
from core.training import activations
from core.training.setting import Dtype, Setting

ROWS, LENGTH, RANK = 2, 64, 4
HEADS = {"num_attention_heads": 8, "head_dim": 16}
CONFIG: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 96, **HEADS, "num_key_value_heads": 2,
    "intermediate_size": 320, "tie_word_embeddings": True,
}  # fmt: skip


def saved(setting: Setting, layers: int, targets: str | list[str], family: str) -> int:
    """Bytes that autograd keeps of one pass, without the parameters themselves."""
    known = {k: v for k, v in CONFIG.items() if k != "model_type"}
    of = AutoConfig.for_model(family, **known, num_hidden_layers=layers)
    model: Any = AutoModelForCausalLM.from_config(of)
    autocast = activations.autocast(setting)
    if setting.dtype != "float32" and (setting.tuning == "lora" or not autocast):
        model = model.to(torch.bfloat16)
    if setting.tuning == "lora":
        lora = LoraConfig(r=RANK, target_modules=targets)
        model = get_peft_model(model, lora, autocast_adapter_dtype=autocast)
    if setting.checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, CONFIG["vocab_size"], (ROWS, LENGTH))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    types: AbstractContextManager[Any] = (
        torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), types:
        model(input_ids=ids, labels=ids, attention_mask=mask if setting.masked else None)
    return sum(t.untyped_storage().nbytes() for t in kept.values())


def a_layer(
    setting: Setting, targets: str | list[str] = "all-linear", family: str = "llama"
) -> int:
    """Of two passes the difference: what one layer keeps."""
    torch.manual_seed(0)
    return saved(setting, 3, targets, family) - saved(setting, 2, targets, family)


def copies(setting: Setting) -> int:
    """Autocast's 16-bit copies of one layer's trained linears: the plan has them under weights."""
    if not activations.autocast(setting):
        return 0
    of = sizes.shape(CONFIG | {"num_hidden_layers": 1})
    linears = of.linears.values()
    if setting.tuning == "full":
        return 2 * sum(inputs * outputs for inputs, outputs in linears)
    return 2 * RANK * sum(inputs + outputs for inputs, outputs in linears)


# (type, ZeRO stage): float32, autocast, and a model converted to 16 bits as DeepSpeed does.
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 0), ("bfloat16", 3)])
def test_a_layer_keeps_what_the_plan_says(tuning: Any, dtype: Dtype, stage: int) -> None:
    setting = Setting(
        tuning=tuning,
        dtype=dtype,
        zero_stage=stage,
        length=LENGTH,
        micro_batch=ROWS,
        lora_rank=RANK,
    )
    of = sizes.shape(CONFIG | {"num_hidden_layers": 1})
    said = activations.layer(of, setting) * setting.tokens + copies(setting)
    assert a_layer(setting) == said


def test_fewer_targets_of_lora_keep_less() -> None:
    targets = ["q_proj", "v_proj"]
    setting = Setting(
        dtype="float32",
        length=LENGTH,
        micro_batch=ROWS,
        lora_rank=RANK,
        lora_targets=tuple(targets),
    )
    of = sizes.shape(CONFIG | {"num_hidden_layers": 1})
    assert a_layer(setting, targets) == activations.layer(of, setting) * setting.tokens


def test_masked_rows_repeat_keys_and_values_and_carry_a_mask() -> None:
    setting = Setting(tuning="full", dtype="float32", length=LENGTH, micro_batch=ROWS, masked=True)
    of = sizes.shape(CONFIG | {"num_hidden_layers": 1})
    assert a_layer(setting) == activations.layer(of, setting) * setting.tokens


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_checkpointing_keeps_what_passes_between_layers(tuning: Any) -> None:
    setting = Setting(
        tuning=tuning, dtype="float32", checkpointing=True, length=LENGTH, micro_batch=ROWS,
        lora_rank=RANK,
    )  # fmt: skip
    of = sizes.shape(CONFIG | {"num_hidden_layers": 1})
    assert a_layer(setting) == activations.residual(of, setting) * setting.tokens


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_norms_of_queries_and_keys_keep_their_share(tuning: Any) -> None:
    setting = Setting(
        tuning=tuning, dtype="float32", length=LENGTH, micro_batch=ROWS, lora_rank=RANK
    )
    of = sizes.shape(CONFIG | {"num_hidden_layers": 1, "model_type": "qwen3"})
    assert a_layer(setting, family="qwen3") == activations.layer(of, setting) * setting.tokens
