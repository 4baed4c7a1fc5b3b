"""How a model is trained, as far as memory and time depend on it."""

from dataclasses import dataclass, replace
from typing import Literal

Tuning = Literal["lora", "full"]
Method = Literal["supervised", "dpo"]
Dtype = Literal["float32", "bfloat16", "float16"]

BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One training on `gpus` equal devices of one host; without any, on its CPU (`gpus` ranks there).

    `micro_batch`: rows that a device takes at once (with dpo pairs); a step takes micro_batch x accumulation x gpus.
    `length`: of a row in tokens. `dtype`: of the passes; without DeepSpeed a model that is trained whole keeps its
    weights in float32 and runs under autocast. `checkpointing`: of activations, which computes them a second time
    instead of keeping them. `zero_stage` 0: without DeepSpeed. `masked`: rows come with an attention mask
    (padding, packed documents), for which keys and values are repeated for each query head.
    `live_parameters`, `bucket`: DeepSpeed's stage3_max_live_parameters and reduce_bucket_size, in elements.
    """

    tuning: Tuning = "lora"
    method: Method = "supervised"
    micro_batch: int = 8
    accumulation: int = 1
    length: int = 1024
    dtype: Dtype = "bfloat16"
    checkpointing: bool = False
    lora_rank: int = 16
    lora_targets: str | tuple[str, ...] = "all-linear"
    zero_stage: int = 0
    offload_optimizer: bool = False
    offload_parameters: bool = False
    gpus: int = 1
    masked: bool = False
    live_parameters: int = 1_000_000_000
    bucket: int = 500_000_000

    def on(self, gpus: int) -> "Setting":
        """The same on another number of devices: each takes as many rows as before."""
        return replace(self, gpus=gpus)

    @property
    def batch(self) -> int:
        return self.micro_batch * self.accumulation * self.gpus

    @property
    def rows(self) -> int:
        """Rows that are in a device's pass at once: a preference is two."""
        return self.micro_batch * (2 if self.method == "dpo" else 1)

    @property
    def tokens(self) -> int:
        """Tokens of one pass on one device."""
        return self.rows * self.length
