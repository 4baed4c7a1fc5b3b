"""`python -m bench.training_sizes`: the tables of docs/training-sizes.md, from the plans and what was measured."""

import re
import sys
from pathlib import Path

from bench.gpu_results import comparison, read
from core.catalog import sizes
from core.training import fitting, memory, picture, zero
from core.training.fitting import Capacity
from core.training.memory import GIB
from core.training.setting import Setting

PAGE = Path(__file__).parents[1] / "docs" / "training-sizes.md"
DEVICE, HOST, GPUS = 80, 1024, (1, 2, 4, 8)
_ONE = Setting(tuning="full", micro_batch=1, length=2048, accumulation=8)
WAYS = {
    "LoRA of rank 16, bf16": Setting(micro_batch=1, length=2048, accumulation=8),
    "full, without DeepSpeed": _ONE,
    **{
        f"full, {name}": zero.shaped(_ONE, zero.preset(name, batch=8, micro_batch=1))
        for name in ("zero2-bf16", "zero3-bf16", "zero3-offload-bf16")
    },
}


def counts() -> str:
    lines = [
        "| size | parameters | a layer | LoRA of rank 16 | weights in bf16 |",
        "|---|---|---|---|---|",
    ]
    for name in sizes.PRESETS:
        config = sizes.preset(name)
        total, lora = sizes.parameters(config), sizes.adapter_parameters(config, 16)
        layer = sizes.shape(config).layer
        lines.append(f"| {name} | {total:,} | {layer:,} | {lora:,} | {2 * total / GIB:.1f} GiB |")
    return "\n".join(lines) + "\n"


def plans(size: str) -> str:
    """A block of bars: for each way and number of GPUs what each device and the host hold."""
    lines = ["```", f"{'':26}GPUs  GiB each  of {DEVICE:<38}host GiB  fits"]
    for way, one in WAYS.items():
        for gpus in GPUS:
            planned = memory.plan(sizes.preset(size), one.on(gpus))
            capacity = Capacity(DEVICE * GIB, HOST * GIB, gpus)
            bar = picture.bar(planned.device, capacity.device_bytes)
            lines.append(
                f"{way if gpus == GPUS[0] else '':26}{gpus:>4}{planned.device_bytes / GIB:>10.1f}  {bar}"
                f"{planned.host_bytes / GIB:>9.1f}  {_verdict(planned, capacity)}"
            )
    return "\n".join([*lines, "```"]) + "\n"


def _verdict(planned: memory.MemoryPlan, capacity: Capacity) -> str:
    found = fitting.nearest(planned, capacity)
    if found is None:
        return "no"
    return "; ".join(found.changes) if found.changes else "yes"


def tables() -> dict[str, str]:
    """By the mark that each stands between."""
    made = {"counts": counts(), "measured": comparison(read())}
    return made | {f"plan {size}": plans(size) for size in sizes.PRESETS}


def filled(page: str) -> str:
    """The page with its tables as they are now; the words around them stay."""
    for name, table in tables().items():
        between = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = between.sub(lambda found, table=table: found[1] + table + found[2], page)  # type: ignore[misc]
    return page


def main() -> int:
    PAGE.write_text(filled(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
