"""What a training needs of memory: by part, on each device and on the host, at the moment when it is most.

    moment     on the device
    loss       weights, moments, gradients gathered so far, activations, the scores over the vocabulary
    layer      with checkpointing: the same, with one layer's activations computed again instead of the scores
    step       weights, moments, all gradients, what the optimizer works with

States per trained parameter: mixed precision after Rajbhandari et al. 2020, "ZeRO: memory optimizations toward
training trillion parameter models" (2 weights + 2 gradients + 4 master + 8 moments bytes, divided by stage), and
DeepSpeed's own buffers (a bucket to reduce in, stage 3's gathered parameters, float32 gradients of a step).
docs/training-sizes.md says how near measured peaks came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.catalog import sizes
from core.catalog.sizes import Shape
from core.training import activations
from core.training.setting import BYTES, Setting

GIB = 2**30
PARTS = (
    "weights",
    "master",
    "optimizer",
    "gradients",
    "reference",
    "activations",
    "logits",
    "working",
    "runtime",
)
_MOMENTS, _MASTER = 8, 4  # bytes a trained parameter: Adam's two moments, and weights, in float32
# DeepSpeed converts and steps so many parameters at a time (sub_group_size).
_STEP_GROUP = 1_000_000_000
# CUDA's context on a device; a process beside what it trains with, its libraries and the weights' file in memory.
CONTEXT, PROCESS = 700 * 2**20, 3 * GIB
CPU_PROCESS = 700 * 2**20
# What the allocator holds and does not use, as a share of what comes and goes (docs/training-sizes.md, measured).
_FRAGMENTS = 0.12


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """`device`: bytes by part on each device; `host`: by part, of all ranks on the host together.

    Both at the device's fullest `moment`. Without devices, `device` is what a rank takes of the host, too.
    """

    config: Mapping[str, Any]
    setting: Setting
    parameters: int
    trained: int
    moment: str
    device: Mapping[str, int]
    host: Mapping[str, int]

    @property
    def device_bytes(self) -> int:
        return sum(self.device.values())

    @property
    def host_bytes(self) -> int:
        return sum(self.host.values())

    @property
    def cpu_bytes(self) -> int:
        """Of the host where there is no device: all of it, without what CUDA takes."""
        less = CONTEXT + PROCESS - CPU_PROCESS
        return self.host_bytes + self.setting.gpus * (self.device_bytes - less)


def plan(config: Mapping[str, Any], setting: Setting) -> MemoryPlan:
    """`config`: a config.json of Hugging Face. Raises InvalidInput (model_unsupported) when its size is not known."""
    of = sizes.shape(config)
    trained = of.total
    if setting.tuning == "lora":
        trained = sizes.adapter_parameters(config, setting.lora_rank, setting.lora_targets)
    device, host = (
        _zero(of, trained, setting) if setting.zero_stage else _plain(of, trained, setting)
    )
    moment = "step"
    fullest = device | {"working": device["working"] + _tied(of, setting)}
    for name, passing in _moments(of, setting).items():
        kept = device["gradients"] if _gathers(setting) else 0
        there = (
            device
            | passing
            | {"gradients": kept, "working": device["working"] - _stepping(trained, setting)}
        )
        if sum(there.values()) > sum(fullest.values()):
            moment, fullest = name, there
    moving = sum(fullest[p] for p in ("activations", "logits", "working", "gradients"))
    return MemoryPlan(
        config,
        setting,
        of.total,
        trained,
        moment,
        {p: fullest[p] for p in PARTS[:-1]} | {"runtime": int(moving * _FRAGMENTS) + CONTEXT},
        host | {"processes": setting.gpus * PROCESS},
    )


def _moments(of: Shape, setting: Setting) -> dict[str, dict[str, int]]:
    """What comes and goes on the device at each moment but the step."""
    tokens, whole = setting.tokens, activations.layer(of, setting)
    scores, last = activations.loss(of) * tokens, activations.ends(of, setting) * tokens
    if not setting.checkpointing:
        return {"loss": {"activations": whole * of.layers * tokens + last, "logits": scores}}
    kept = activations.residual(of, setting) * of.layers * tokens
    # The gradients of what is inside a layer are there beside it: about as much as the widest of it.
    inside = (whole + 2 * BYTES[setting.dtype] * of.ff_width) * tokens
    return {
        "loss": {"activations": kept + last, "logits": scores},
        "layer": {"activations": kept + inside, "logits": 0},
    }


def _nothing() -> dict[str, int]:
    return dict.fromkeys(PARTS, 0)


def _plain(of: Shape, trained: int, setting: Setting) -> tuple[dict[str, int], dict[str, int]]:
    """States without DeepSpeed: what is trained is kept in float32, and each device holds all."""
    size, device = BYTES[setting.dtype], _nothing()
    if setting.tuning == "full":
        device["weights"] = 4 * of.total
        device["reference"] = 4 * of.total if setting.method == "dpo" else 0
    else:
        device["weights"] = size * of.total + 4 * trained
    if activations.autocast(setting):
        # 16-bit copies of what is trained, kept from the way there to the way back.
        device["weights"] += size * (of.multiplied if setting.tuning == "full" else trained)
    device["gradients"] = 4 * trained
    device["optimizer"] = _MOMENTS * trained
    return device, {}


def _zero(of: Shape, trained: int, setting: Setting) -> tuple[dict[str, int], dict[str, int]]:
    """States under DeepSpeed: 16-bit (or float32) weights, float32 master weights, divided by stage."""
    size, n, stage = BYTES[setting.dtype], setting.gpus, setting.zero_stage
    device, host = _nothing(), {}
    weights = size * (of.total + (trained if setting.tuning == "lora" else 0))
    if setting.offload_parameters:
        host["weights"] = _pinned(weights, n)
    else:
        device["weights"] = weights // (n if stage == 3 else 1)
    if setting.method == "dpo" and setting.tuning == "full":
        device["reference"] = size * of.total // (n if stage == 3 else 1)
    gradients = size * trained
    if setting.offload_optimizer:
        host["master"], host["optimizer"] = _grouped(trained, n), _MOMENTS * trained
        host["gradients"] = _grouped(trained, n) + _pinned(gradients, n)
        device["gradients"] = 0 if stage == 3 else gradients // (n if stage == 2 else 1)
    else:
        device["master"], device["optimizer"] = _MASTER * trained // n, _MOMENTS * trained // n
        device["gradients"] = gradients // (n if stage >= 2 else 1)
    device["working"] = _buffers(of, setting) + _stepping(trained, setting)
    return device, host


def _pinned(size: int, ranks: int) -> int:
    """PyTorch rounds each pinned block up to a power of two; a rank has one."""
    return ranks * (1 << (size // ranks - 1).bit_length()) if size else 0


def _grouped(trained: int, ranks: int) -> int:
    """Float32 values of what is trained, pinned by groups of a step."""
    groups, rest = divmod(trained // ranks, _STEP_GROUP)
    return groups * _pinned(4 * _STEP_GROUP * ranks, ranks) + _pinned(4 * rest * ranks, ranks)


def _buffers(of: Shape, setting: Setting) -> int:
    """DeepSpeed's bucket of gradients, and stage 3's parameters gathered for the layers at work."""
    size = BYTES[setting.dtype]
    gathered = 0
    if setting.zero_stage == 3 and (setting.gpus > 1 or setting.offload_parameters):
        # The layer at work and the next, however few may be alive.
        gathered = size * max(2 * of.layer, of.embedding, min(of.total, setting.live_parameters))
    return gathered + size * setting.bucket


def _stepping(trained: int, setting: Setting) -> int:
    """Float32 gradients of the step, where the optimizer runs on the device."""
    if not setting.zero_stage or setting.offload_optimizer or setting.dtype == "float32":
        return 0
    return 4 * min(trained // setting.gpus, _STEP_GROUP)


def _tied(of: Shape, setting: Setting) -> int:
    """A tied embedding gets a second gradient at the end of the way back, before the two are added."""
    if not of.tied or setting.tuning == "lora":
        return 0
    return (4 if setting.zero_stage == 0 else BYTES[setting.dtype]) * of.embedding


def _gathers(setting: Setting) -> bool:
    """Whether gradients are there already when a pass ends: of earlier passes, or in a bucket's view."""
    return setting.accumulation > 1 or setting.gpus > 1 or setting.zero_stage > 0
