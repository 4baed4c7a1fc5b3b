"""Whether a training fits where it shall run, and the nearest setting that does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.training.memory import GIB, MemoryPlan, plan
from core.training.setting import Setting

SHORTEST = 256  # tokens; a shorter row is another task


@dataclass(frozen=True, slots=True)
class Capacity:
    """`device_bytes`: of each device; 0: there is none, and the host's memory is all. `host_bytes`: free for us."""

    device_bytes: int
    host_bytes: int
    gpus: int = 1


@dataclass(frozen=True, slots=True)
class Fit:
    """A plan that fits, and what was changed for it, in words."""

    plan: MemoryPlan
    changes: tuple[str, ...]


def fits(planned: MemoryPlan, capacity: Capacity) -> bool:
    device, host = needs(planned, capacity)
    return device <= capacity.device_bytes and host <= capacity.host_bytes


def needs(planned: MemoryPlan, capacity: Capacity) -> tuple[int, int]:
    """Bytes of each device and of the host; where there are no devices the host takes it all."""
    if capacity.device_bytes:
        return planned.device_bytes, planned.host_bytes
    return 0, planned.cpu_bytes


def nearest(planned: MemoryPlan, capacity: Capacity) -> Fit | None:
    """The closest setting that fits; None when nothing does. With nothing to change: the plan itself.

    In order of least change: fewer rows at once with more accumulation, checkpointing (the same result, slower);
    stage 2 and 3, offload of the optimizer, then of parameters (the same result but for rounding, slower still);
    shorter rows; LoRA instead of full (another result). Each is added to those before it until it fits; what has
    become needless then is taken back, the costliest first.
    """
    if fits(planned, capacity):
        return Fit(planned, ())
    taken: list[_Change] = []
    for change in _changes(planned.setting, capacity):
        taken.append(change)
        if _rows(planned, taken, capacity) is None:
            continue
        for needless in taken[-2::-1]:
            fewer = [one for one in taken if one is not needless]
            if _rows(planned, fewer, capacity) is not None:
                taken = fewer
        found = _rows(planned, taken, capacity)
        assert found is not None
        return Fit(found, tuple(_said(planned.setting, found.setting)))
    return None


# Fields of a Setting with their new values.
_Change = Mapping[str, Any]


def _changes(setting: Setting, capacity: Capacity) -> Iterator[_Change]:
    yield {}
    if not setting.checkpointing:
        yield {"checkpointing": True}
    if capacity.device_bytes:
        for stage in (2, 3):
            if setting.gpus > 1 and setting.zero_stage < stage:
                yield {"zero_stage": stage}
        if not setting.offload_optimizer:
            yield {"zero_stage": 3, "offload_optimizer": True}
        if not setting.offload_parameters:
            yield {"zero_stage": 3, "offload_optimizer": True, "offload_parameters": True}
    length = setting.length
    while (length := length // 2) >= SHORTEST:
        yield {"length": length}
    if setting.tuning == "full":
        yield {"tuning": "lora"}


def _rows(planned: MemoryPlan, changes: Sequence[_Change], capacity: Capacity) -> MemoryPlan | None:
    """The changed plan with as many rows at once as fit; the batch stays what it was."""
    changed = dict(item for change in changes for item in change.items())
    setting = planned.setting
    rows = setting.micro_batch * setting.accumulation
    for micro in (m for m in range(setting.micro_batch, 0, -1) if rows % m == 0):
        changed |= {"micro_batch": micro, "accumulation": rows // micro}
        tried = plan(planned.config, replace(setting, **changed))
        if fits(tried, capacity):
            return tried
    return None


def _said(was: Setting, now: Setting) -> Iterator[str]:
    if now.tuning != was.tuning:
        yield f"LoRA of rank {now.lora_rank} instead of training all weights"
    if now.length != was.length:
        yield f"max_length {now.length:,} instead of {was.length:,}"
    if now.micro_batch != was.micro_batch:
        yield (
            f"micro batch {now.micro_batch} instead of {was.micro_batch} "
            f"with accumulation {now.accumulation} instead of {was.accumulation}"
        )
    if now.checkpointing and not was.checkpointing:
        yield "activation checkpointing"
    if now.zero_stage != was.zero_stage:
        yield f"ZeRO stage {now.zero_stage}"
    if now.offload_parameters and not was.offload_parameters:
        yield "optimizer and parameters offloaded to the host"
    elif now.offload_optimizer and not was.offload_optimizer:
        yield "optimizer offloaded to the host"


def refusal(planned: MemoryPlan, capacity: Capacity) -> str:
    """Why it is refused, in numbers, and what would fit: for the client."""
    device, host = needs(planned, capacity)
    short = []
    if device > capacity.device_bytes:
        short.append(
            f"{_gib(device)} GiB on each of {planned.setting.gpus} GPU(s) with "
            f"{_gib(capacity.device_bytes)} GiB"
        )
    if host > capacity.host_bytes:
        short.append(f"{_gib(host)} GiB of the host's {_gib(capacity.host_bytes)} GiB")
    if not short:
        raise ValueError("it fits: there is nothing to refuse")
    parts = (
        planned.device
        if device > capacity.device_bytes or not capacity.device_bytes
        else planned.host
    )
    largest = sorted(parts.items(), key=lambda part: -part[1])[:3]
    by_part = ", ".join(f"{name} {_gib(size)}" for name, size in largest if size)
    found = nearest(planned, capacity)
    advice = (
        f"What fits: {'; '.join(found.changes)}."
        if found
        else "No setting of it fits: use a smaller model or larger devices."
    )
    return (
        f"This training needs {' and '.join(short)} "
        f"({planned.parameters:,} parameters, {planned.trained:,} trained; {by_part} GiB). {advice}"
    )


def _gib(size: int) -> str:
    """To tenths below ten, so that small models read well."""
    value = size / GIB
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"
