"""The DeepSpeed presets: the customer's to the letter, each one as DeepSpeed takes it, and what ranks change."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from core.training import zero
from core.training.setting import Setting

FOLDER = Path(zero.__file__).parent / "deepspeed"
# The configuration of the customer's document, number for number.
CUSTOMERS: dict[str, Any] = {
    "train_batch_size": 1024,
    "train_micro_batch_size_per_gpu": 16,
    "gradient_accumulation_steps": 64,
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
        "offload_param": {"device": "cpu", "pin_memory": True},
    },
    "fp16": {
        "enabled": True,
        "loss_scale": 0,
        "loss_scale_window": 1000,
        "initial_scale_power": 16,
        "hysteresis": 2,
        "min_loss_scale": 1,
    },
}
# DeepSpeed's own reading of each, in a process of its own: the import sets an accelerator for good.
READ = """
import json, os, sys
os.environ["DS_ACCELERATOR"] = "cpu"
from deepspeed.runtime.config import DeepSpeedConfig
for text in json.loads(sys.argv[1]):
    c = DeepSpeedConfig(text)
    z = c.zero_config
    print("READ", json.dumps([
        c.train_batch_size, c.train_micro_batch_size_per_gpu, c.gradient_accumulation_steps, int(z.stage),
        z.offload_optimizer.device if z.offload_optimizer else None,
        z.offload_param.device if z.offload_param else None,
        c.float16_config.enabled, c.bfloat16_config.enabled, c.float16_config.initial_scale_power,
        z.reduce_bucket_size, z.max_live_parameters,
    ]))
"""


def test_the_customers_preset_is_the_customers() -> None:
    assert json.loads((FOLDER / "zero3-offload-fp16.json").read_text()) == CUSTOMERS
    assert zero.preset("zero3-offload-fp16") == CUSTOMERS


def test_every_file_is_a_preset_and_every_preset_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(zero.NAMES)


def test_the_others_differ_as_their_names_say() -> None:
    bf16 = {k: v for k, v in CUSTOMERS.items() if k != "fp16"} | {"bf16": {"enabled": True}}
    assert zero.preset("zero3-offload-bf16") == bf16
    assert zero.preset("zero3-bf16") == bf16 | {"zero_optimization": {"stage": 3}}
    assert zero.preset("zero2-bf16") == bf16 | {"zero_optimization": {"stage": 2}}
    assert "fp16" not in zero.preset("zero3-offload-cpu")


def test_deepspeed_takes_each_of_them() -> None:
    configs = [zero.preset(name) for name in zero.NAMES]
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(configs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("READ ")]
    for config, (
        batch,
        micro,
        steps,
        stage,
        optimizer,
        parameters,
        fp16,
        bf16,
        power,
        *buffers,
    ) in zip(configs, read, strict=True):
        assert (batch, micro, steps) == (1024, 16, 64)
        setting = zero.shaped(Setting(), config)
        assert setting.zero_stage == stage
        assert setting.offload_optimizer == (optimizer == "cpu")
        assert setting.offload_parameters == (parameters == "cpu")
        assert (setting.dtype == "float16", setting.dtype == "bfloat16") == (fp16, bf16)
        assert power == 16
        assert [setting.bucket, setting.live_parameters] == buffers, "DeepSpeed's own defaults"


@pytest.mark.parametrize(("world", "steps"), [(1, 64), (2, 32), (4, 16), (8, 8), (64, 1)])
def test_more_ranks_accumulate_less(world: int, steps: int) -> None:
    config = zero.preset("zero3-offload-fp16", world)
    assert config == CUSTOMERS | {"gradient_accumulation_steps": steps}
    setting = zero.shaped(Setting(), config, world)
    assert setting.batch == 1024


def test_a_job_has_its_own_batch() -> None:
    config = zero.preset("zero2-bf16", 2, batch=32, micro_batch=4)
    assert config["train_batch_size"] == 32
    assert config["train_micro_batch_size_per_gpu"] == 4
    assert config["gradient_accumulation_steps"] == 4


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        zero.preset("zero3-offload-fp16", 3)
    assert refused.value.param == "batch_size"
    assert refused.value.message == (
        "zero3-offload-fp16: a batch of 1024 cannot be divided among 3 rank(s) that take 16 rows each: "
        "use 2 rank(s), or a batch that is a multiple of 48."
    )
    with pytest.raises(InvalidInput, match=r"or a batch that is a multiple of 6\."):
        zero.preset("zero2-bf16", 2, batch=4, micro_batch=3)
    with pytest.raises(InvalidInput, match=r"no DeepSpeed preset 'zero9'.*zero3-offload-fp16"):
        zero.preset("zero9")
