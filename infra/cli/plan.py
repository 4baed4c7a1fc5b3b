"""`penstock finetune plan`: what a training takes of each device and of the host, and what would fit; asks nobody."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.catalog import sizes
from core.errors import InvalidInput
from core.training import fitting, memory, picture
from core.training.fitting import Capacity
from core.training.memory import GIB
from core.training.setting import Setting


class Size(StrEnum):
    """Of core/model/presets."""

    small = "1B"
    middle = "7B"
    large = "30B"


class Tuning(StrEnum):
    """An adapter, or all weights."""

    lora = "lora"
    full = "full"


class Method(StrEnum):
    """Preferences are pairs of rows."""

    supervised = "supervised"
    dpo = "dpo"


class Dtype(StrEnum):
    """Of the passes."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def plan(
    size: Annotated[Size | None, typer.Option(help="A shape that comes with Penstock.")] = None,
    model: Annotated[Path | None, typer.Option(help="Or a model's folder.")] = None,
    gpus: Annotated[str, typer.Option(help="How many, one row each: 1,2,4,8.")] = "1,2,4,8",
    memory_gib: Annotated[float, typer.Option("--memory", help="GiB of each GPU.")] = 80,
    host_gib: Annotated[float, typer.Option("--host", help="GiB of the host.")] = 1024,
    tuning: Annotated[Tuning, typer.Option(help="An adapter or all weights.")] = Tuning.lora,
    method: Annotated[Method, typer.Option(help="What is trained.")] = Method.supervised,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a pass on each GPU.")] = 1,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a row.")] = 2048,
    rank: Annotated[int, typer.Option(min=1, help="Of LoRA.")] = 16,
    zero: Annotated[int, typer.Option(min=0, max=3, help="DeepSpeed's stage; 0: none.")] = 0,
    offload: Annotated[
        bool, typer.Option("--offload", help="Optimizer and parameters (stage 3) on the host.")
    ] = False,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations a second time.")
    ] = False,
    dtype: Annotated[Dtype, typer.Option(help="Of the passes.")] = Dtype.bfloat16,
) -> None:
    """Show the memory a training takes, by part and number of GPUs, and the nearest setting that fits."""
    try:
        config, name = _model(size, model)
        one = Setting(
            tuning=tuning.value, method=method.value, micro_batch=batch, length=length,
            dtype=dtype.value, lora_rank=rank, checkpointing=checkpointing,
            zero_stage=zero or (3 if offload else 0), offload_optimizer=offload,
            offload_parameters=offload and zero in (0, 3),
        )  # fmt: skip
        show(config, name, one, _counts(gpus), memory_gib, host_gib)
    except InvalidInput as error:
        raise typer.BadParameter(error.message, param_hint=f"--{error.param}") from error


def _model(size: Size | None, folder: Path | None) -> tuple[dict[str, Any], str]:
    if (size is None) == (folder is None):
        raise InvalidInput("Give one of --size and --model.", param="size")
    if folder is not None:
        return sizes.configuration(folder), folder.name
    assert size is not None
    return sizes.preset(size.value), size.value


def _counts(gpus: str) -> list[int]:
    parts = gpus.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InvalidInput(f"{gpus!r} is no list of numbers: 1,2,4,8.", param="gpus")
    return [int(part) for part in parts]


def show(
    config: dict[str, Any], name: str, one: Setting, gpus: list[int], device: float, host: float
) -> None:
    """A table, a row for each number of GPUs; below it what its letters mean."""
    table = Table("GPUs", "GiB each", f"of {device:g}", "host GiB", f"of {host:g}", "fits")
    planned = None
    for count in gpus:
        planned = memory.plan(config, one.on(count))
        capacity = Capacity(int(device * GIB), int(host * GIB), count)
        table.add_row(
            str(count),
            f"{planned.device_bytes / GIB:.1f}",
            picture.bar(planned.device, capacity.device_bytes),
            f"{planned.host_bytes / GIB:.1f}",
            picture.bar(planned.host, capacity.host_bytes, 20),
            verdict(planned, capacity),
        )
    assert planned is not None
    console = Console()
    console.print(
        f"{name}: {planned.parameters:,} parameters, {planned.trained:,} trained; "
        f"passes of {one.micro_batch} x {one.length:,} tokens",
        highlight=False,
    )
    console.print(table)
    console.print(picture.LEGEND, highlight=False)


def verdict(planned: memory.MemoryPlan, capacity: Capacity) -> str:
    found = fitting.nearest(planned, capacity)
    if found is None:
        return "no"
    return f"no; with {', '.join(found.changes)}" if found.changes else "yes"
