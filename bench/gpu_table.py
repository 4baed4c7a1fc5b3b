"""`python -m bench.gpu_table`: what was measured on a GPU, as a table of docs/performance.md."""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from bench.__main__ import PAGE
from bench.figure import Figure, spread
from bench.gpu_results import NAMES, gib, read, rounds
from bench.gpu_training import Run, again
from core.training import duration

PEAK = duration.PEAKS["H100"]
NOTES = """{card} (name, MiB, driver), {cores} cores; torch {torch}, transformers {transformers}, deepspeed
{deepspeed}, Python {python}. Cases in turns in one run; median, and the lowest and highest round; 10 steps a round
after 3 that are not counted (with 64 passes a step: 2 after 3).

1B of core/model/presets, fresh weights, random tokens; a step of 4 passes of 4 rows of 2,048 tokens; AdamW fused,
float32 weights under bf16 autocast, gradients clipped to 1, scaled-dot-product attention. Peer: the plain loop above,
our trainer without DeepSpeed below.

MFU: tokens/s x (6 x 1,235,814,400 + 6 x 16 layers x 2,048 width x length) / {peak:.0f} TFLOP/s, the card's dense bf16
peak by its datasheet; causal attention counted as the half that it is, recomputation not at all
(core/training/duration.py). Of LoRA it is what full training would do: its own work is less.

The price of ZeRO-3 with optimizer and parameters on the host: {price:.0%} of the speed with 64 passes a step, for
{saved:.0f} GiB less on the card; the fewer passes share a step of the optimizer on the CPU, the dearer.

Peak: of tensors on the card (torch.cuda.max_memory_allocated); host: beyond what was in use before."""


def speeds(of: Sequence[dict[str, Any]]) -> list[float]:
    return [one["tokens_per_s"] for one in of]


def figure(first: dict[str, Any], second: dict[str, Any]) -> Figure:
    """`first`: a short batch, in which offload costs most; `second`: the customer's batch of 1,024 rows."""
    short, long = rounds(first), rounds(second)
    rows = [_row(name, of, again(first), short["plain"]) for name, of in short.items()]
    rows += [("**a step of 1,024 rows of 512 tokens, 64 passes**", "", "", "", "", "")]
    rows += [_row(name, of, again(second), long["ours"]) for name, of in long.items()]
    ratio = [a / b for a, b in zip(speeds(short["ours"]), speeds(short["plain"]), strict=True)]
    price = speeds(long["zero3-offload"])[0] / speeds(long["ours"])[0]
    saved = gib(long["ours"], "peak_bytes") - gib(long["zero3-offload"], "peak_bytes")
    said = NOTES.format(**first["machine"], peak=PEAK / 1e12, price=1 - price, saved=saved)
    return Figure(
        name="gpu_training",
        title="12. Training a 1B model on one GPU",
        header=("", "tokens/s", "of its peer", "MFU", "peak GiB", "host GiB"),
        rows=rows,
        verdict=f"at least 0.95 of a plain PyTorch loop; measured {spread(ratio, 3)}",
        met=statistics.median(ratio) >= 0.95,
        notes=[" ".join(note.split()) for note in said.split("\n\n")],
    )


def _row(
    name: str, of: Sequence[dict[str, Any]], run: Run, peer: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    speed, beside = statistics.median(speeds(of)), statistics.median(speeds(peer))
    used = speed * duration.model_operations(run.config, run.length) / PEAK
    return (
        NAMES[name],
        spread(speeds(of)) if len(of) > 1 else f"{speed:,.0f}",
        "" if of is peer else f"{speed / beside:.3f}",
        f"{used:.1%}",
        f"{gib(of, 'peak_bytes'):.1f}",
        f"{gib(of, 'host_bytes'):.1f}",
    )


def main() -> int:
    first, second = read()
    made = figure(first, second)
    begin, end = f"<!-- {made.name} -->", f"<!-- /{made.name} -->"
    page = PAGE.read_text()
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{made.markdown()}{end}{after}")
    print(made.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
