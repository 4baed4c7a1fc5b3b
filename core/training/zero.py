"""The DeepSpeed configurations that come with Penstock, adapted to the number of ranks and the job's batch.

zero3-offload-fp16   ZeRO stage 3, optimizer and parameters in pinned host memory, fp16 with dynamic loss scaling
zero3-offload-bf16   the same in bf16: no loss scaling, since its range is float32's
zero3-bf16           stage 3, everything on the devices
zero2-bf16           stage 2: weights whole on each device, gradients and optimizer divided
zero3-offload-cpu    zero3-offload-bf16 where there is no GPU, with small buffers: DeepSpeed's CPU accelerator
                     refuses fp16
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import InvalidInput
from core.training.setting import Dtype, Setting

NAMES = (
    "zero3-offload-fp16",
    "zero3-offload-bf16",
    "zero3-bf16",
    "zero2-bf16",
    "zero3-offload-cpu",
)
_FOLDER = Path(__file__).parent / "deepspeed"
_BATCH, _MICRO, _STEPS = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
)


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.json").read_text()


def preset(
    name: str, world: int = 1, *, batch: int | None = None, micro_batch: int | None = None
) -> dict[str, Any]:
    """The configuration for `world` ranks: the accumulation is what is left of the batch (1024 = 16 x 64 x 1).

    `batch`, `micro_batch`: the job's own instead of the preset's. Raises InvalidInput when it does not divide.
    """
    if name not in NAMES:
        raise InvalidInput(
            f"There is no DeepSpeed preset {name!r}. Presets: {', '.join(NAMES)}.",
            param="deepspeed",
        )
    config: dict[str, Any] = json.loads(_read(name))
    batch, micro = batch or config[_BATCH], micro_batch or config[_MICRO]
    at_once = micro * world
    if batch % at_once:
        fitting = [w for w in range(world, 0, -1) if batch % (micro * w) == 0]
        worlds = f"use {fitting[0]} rank(s), " if fitting else ""
        raise InvalidInput(
            f"{name}: a batch of {batch} cannot be divided among {world} rank(s) that take {micro} rows each: "
            f"{worlds}or a batch that is a multiple of {at_once}.",
            param="batch_size",
        )
    return config | {_BATCH: batch, _MICRO: micro, _STEPS: batch // at_once}


def shaped(setting: Setting, config: Mapping[str, Any], world: int = 1) -> Setting:
    """The setting as a DeepSpeed configuration has it: stage, offload, type, batch, buffers."""
    zero: Mapping[str, Any] = config.get("zero_optimization", {})
    stage = int(zero.get("stage", 0))
    return replace(
        setting,
        zero_stage=stage,
        offload_optimizer=_on_host(zero.get("offload_optimizer")),
        offload_parameters=stage == 3 and _on_host(zero.get("offload_param")),
        dtype=_dtype(config),
        micro_batch=int(config.get(_MICRO, setting.micro_batch)),
        accumulation=int(config.get(_STEPS, setting.accumulation)),
        gpus=world,
        bucket=int(zero.get("reduce_bucket_size", setting.bucket)),
        live_parameters=int(zero.get("stage3_max_live_parameters", setting.live_parameters)),
    )


def _on_host(offload: Mapping[str, Any] | None) -> bool:
    return bool(offload) and (offload or {}).get("device", "none") != "none"


def _dtype(config: Mapping[str, Any]) -> Dtype:
    if config.get("fp16", {}).get("enabled"):
        return "float16"
    return "bfloat16" if config.get("bf16", {}).get("enabled") else "float32"
