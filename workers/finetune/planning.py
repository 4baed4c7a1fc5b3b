"""What a training is going to be: its numbers, its memory and time, whether that fits here, and the trainer's plan."""

import math
from dataclasses import dataclass, replace
from typing import Any

from core.errors import InvalidInput, Refused
from core.jobs import hyper
from core.jobs.finetune import FinetuneSpec
from core.jobs.hyper import Data, Resolved
from core.training import devices, duration, fitting, memory, zero
from core.training.setting import Setting


class DoesNotFit(Refused):
    code = "does_not_fit"


@dataclass(frozen=True, slots=True)
class Plan:
    """`deepspeed`: its configuration, or None; `estimate`: for the job's log, memory in bytes, time in seconds."""

    settings: Resolved
    dtype: str
    world: int
    deepspeed: dict[str, Any] | None
    estimate: dict[str, Any]


def planned(spec: FinetuneSpec, report: dict[str, Any], config: dict[str, Any], world: int) -> Plan:
    """Decide what was left open. Raises DoesNotFit with the reason and what would fit, Refused for a preset
    that the batch cannot be divided for."""
    train = report["train"]
    settings = hyper.resolved(
        spec.method, Data(train["rows"], train["tokens"]), int(config["hidden_size"])
    )
    capacity, device = devices.here()
    on_gpu = bool(capacity.device_bytes)
    settings = _divided(spec, settings, world)
    deepspeed = _deepspeed(spec, settings, world, on_gpu=on_gpu)
    setting = Setting(
        tuning=spec.method.tuning,
        method=spec.method.type,
        micro_batch=settings.micro_batch,
        accumulation=math.ceil(settings.batch_size / (settings.micro_batch * world)),
        length=train["longest_row"],
        dtype="bfloat16" if on_gpu else "float32",
        checkpointing=settings.checkpointing,
        lora_rank=settings.lora_rank,
        gpus=world,
        masked=True,
    )
    if deepspeed is not None:
        setting = zero.shaped(setting, deepspeed, world)
    try:
        need = memory.plan(config, setting)
    except InvalidInput as error:
        raise Refused(error.message, code=error.code) from error
    if not fitting.fits(need, capacity):
        raise DoesNotFit(fitting.refusal(need, capacity))
    tokens = min(
        train["tokens"] * settings.epochs,
        settings.total_steps * settings.batch_size * train["longest_row"],
    )
    estimate = {
        "memory_bytes": need.device_bytes if on_gpu else sum(fitting.needs(need, capacity)),
        "host_bytes": need.host_bytes,
        "parameters": need.parameters,
        "trained_parameters": need.trained,
        "tokens": tokens,
        "seconds": round(duration.seconds(config, setting, tokens, device), 1),
        "ranks": world,
        "dtype": setting.dtype,
        "deepspeed": spec.deepspeed if deepspeed is not None else None,
    }
    return Plan(settings, setting.dtype, world, deepspeed, estimate)


def _divided(spec: FinetuneSpec, settings: Resolved, world: int) -> Resolved:
    """With a batch that every rank gets an equal part of."""
    a_rank = max(1, settings.batch_size // world)
    micro = min(settings.micro_batch, a_rank)
    batch = micro * world * max(1, settings.batch_size // (micro * world))
    wished = spec.method.hyperparameters.batch_size
    if wished not in ("auto", batch) and batch != settings.batch_size and world > 1:
        raise Refused(
            f"batch_size: {wished} rows cannot be divided among {world} ranks; use {batch}",
            param="batch_size",
        )
    return (
        replace(settings, batch_size=batch, micro_batch=micro)
        if world > 1
        else replace(settings, micro_batch=micro)
    )


def _deepspeed(
    spec: FinetuneSpec, settings: Resolved, world: int, *, on_gpu: bool
) -> dict[str, Any] | None:
    name = spec.deepspeed
    if name == "auto":
        # One device needs none; several divide gradients and optimizer.
        name = "zero2-bf16" if world > 1 and on_gpu else "none"
    if name == "none":
        return None
    try:
        return zero.preset(name, world, batch=settings.batch_size, micro_batch=settings.micro_batch)
    except InvalidInput as error:
        raise Refused(error.message, param=error.param) from error
