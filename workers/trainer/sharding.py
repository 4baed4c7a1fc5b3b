"""DeepSpeed: what the trainer adds to a configuration, and the parts that are compiled on the first start."""

from typing import Any

from deepspeed import comm
from deepspeed.accelerator import get_accelerator
from deepspeed.ops.op_builder import CPUAdamBuilder
from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

from workers.trainer.plan import Plan


def of(plan: Plan) -> dict[str, Any] | None:
    """The plan's configuration, with what else is the trainer's to say."""
    if plan.deepspeed is None:
        return None
    config = plan.deepspeed | {"gradient_clipping": plan.hyper.max_grad_norm}
    zero = dict(config.get("zero_optimization", {}))
    if zero.get("stage") == 3:
        # A checkpoint holds whole weights in safetensors beside the shards of the optimizer.
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return config | {"zero_optimization": zero}


def offloads(config: dict[str, Any]) -> bool:
    """Whether the optimizer steps on the host's CPU."""
    zero = config.get("zero_optimization", {})
    return (zero.get("offload_optimizer") or {}).get("device") == "cpu"


def begin(config: dict[str, Any]) -> None:
    """Meet the other ranks; before, compile what is not in TORCH_EXTENSIONS_DIR yet: minutes, once."""
    if offloads(config):
        CPUAdamBuilder().load()
    on_cpu = get_accelerator().device_name() == "cpu"
    if on_cpu:
        # Ranks of one host sum through shared memory.
        ShareMemCommBuilder().load()
    # Before the weights are loaded, in as many pieces as there are ranks.
    comm.init_distributed(dist_backend="gloo" if on_cpu else "nccl")
