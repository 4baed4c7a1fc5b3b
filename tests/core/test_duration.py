"""How long a training takes, reckoned by hand."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from core.catalog import sizes
from core.training import duration
from core.training.duration import Device
from core.training.setting import Setting

SMALL: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 320, "tie_word_embeddings": False,
}  # fmt: skip


def test_a_tokens_operations_are_those_that_torch_counts() -> None:
    """Without attention's own share, which torch does not count on a CPU."""
    config, length = SMALL | {"model_type": "llama"}, 64
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    ids = torch.randint(0, 512, (2, length))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    linear = sum(n for op, n in counter.get_flop_counts()["Global"].items() if "mm" in str(op))
    # Norms are parameters, yet no matrix products: 6 x (2 x layers + 1) x width operations of them.
    norms = 6 * (2 * 2 + 1) * 128
    assert linear / ids.numel() == duration.model_operations(config, 0) - norms


def test_operations_of_a_1b_model_by_hand() -> None:
    config = sizes.preset("1B")
    attention = 6 * 16 * 32 * 64 * 2048
    assert duration.model_operations(config, 2048) == 6 * 1_235_814_400 + attention
    full = Setting(tuning="full", length=2048)
    assert duration.operations(config, full) == duration.model_operations(config, 2048)
    again = Setting(tuning="full", length=2048, checkpointing=True)
    assert duration.operations(config, again) == pytest.approx(
        duration.model_operations(config, 2048) * 4 / 3
    )
    lora = duration.operations(config, Setting(length=2048))
    assert 0.6 < lora / duration.operations(config, full) < 0.75, "no gradients of frozen weights"


def test_time_is_work_over_speed_and_more_devices_share_it() -> None:
    config, card = sizes.preset("1B"), Device("NVIDIA H100 80GB HBM3")
    one = duration.seconds(config, Setting(tuning="full"), 10**9, card)
    assert one == pytest.approx(
        10**9 * duration.model_operations(config, 1024) / (989e12 * duration.ASSUMED)
    )
    assert duration.seconds(config, Setting(tuning="full", gpus=4), 10**9, card) == one / 4
    host = duration.seconds(config, Setting(tuning="full", gpus=2), 10**9, Device(cores=4))
    assert host == duration.seconds(config, Setting(tuning="full"), 10**9, Device(cores=4))
    assert Device("NVIDIA L4").speed < Device("NVIDIA L40S").speed
