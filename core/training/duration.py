"""How long a training takes: floating-point operations a token, over what the device sustains.

After Kaplan et al. 2020 and Chowdhery et al. 2022 (PaLM, appendix B): 6 operations for each parameter that a token
is multiplied with, and 12 x layers x heads x head width x length for attention's scores and values, of which causal
attention needs half. Checkpointing and frozen weights change the work, never the model's operations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.catalog import sizes
from core.training.setting import Setting

# Dense bf16 peaks in operations a second, by the makers' datasheets (NVIDIA's SXM parts, without sparsity).
PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "T4": 65e12,
}
# Of the peak, before the job itself has said: 0.31 was measured for 1B on an H100 (docs/performance.md).
ASSUMED = 0.3
_UNKNOWN_GPU = 100e12
# A core of a server in float32, as rill trains: a first guess; a running training tells its own time left.
CORE = 15e9


@dataclass(frozen=True, slots=True)
class Device:
    """`name` as nvidia-smi or the maker has it; "" is the host, with `cores`."""

    name: str = ""
    cores: int = 1

    @property
    def speed(self) -> float:
        """Operations a second that training is assumed to reach."""
        if not self.name:
            return CORE * self.cores
        known = (peak for part, peak in PEAKS.items() if part in self.name.upper().split())
        return ASSUMED * next(known, _UNKNOWN_GPU)


def model_operations(config: Mapping[str, Any], length: int) -> float:
    """A token's operations by the model alone, trained whole: the numerator of MFU."""
    of = sizes.shape(config)
    return 6.0 * of.multiplied + 6.0 * of.layers * of.heads * of.head_width * length


def operations(config: Mapping[str, Any], setting: Setting) -> float:
    """A token's operations as this setting works: recomputed layers count, gradients of frozen weights do not."""
    of = sizes.shape(config)
    attention = 2.0 * of.layers * of.heads * of.head_width * setting.length
    forward = 2.0 * of.multiplied + attention
    backward = 2 * forward
    if setting.tuning == "lora":
        trained = sizes.adapter_parameters(config, setting.lora_rank, setting.lora_targets)
        backward = 2.0 * of.multiplied + 2 * attention + 4.0 * trained
        forward += 2.0 * trained
    again = forward if setting.checkpointing else 0.0
    reference = forward if setting.method == "dpo" else 0.0
    return forward + backward + again + reference


def seconds(config: Mapping[str, Any], setting: Setting, tokens: int, device: Device) -> float:
    """For so many tokens, epochs counted, on `setting.gpus` devices (or on one host), before anything was measured."""
    work = tokens * operations(config, setting)
    return work / (device.speed * (setting.gpus if device.name else 1))
