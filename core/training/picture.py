"""A memory plan as a bar: one letter a part, as long as its share of the place it must fit."""

from collections.abc import Mapping

# In the order in which they fill a device.
LETTERS = {
    "weights": "W",
    "master": "M",
    "optimizer": "O",
    "gradients": "G",
    "reference": "R",
    "activations": "A",
    "logits": "L",
    "working": "B",
    "runtime": "C",
    "processes": "P",
}
LEGEND = (
    "W weights, M float32 master weights, O optimizer's moments, G gradients, R reference, A activations, "
    "L scores of the vocabulary, B buffers, C CUDA and fragments, P processes, . free, > too much"
)


def bar(parts: Mapping[str, int], capacity: int, width: int = 40) -> str:
    """`width` letters are `capacity` bytes; what is over ends in >. A part under half a letter is not drawn."""
    drawn, filled = "", 0
    for name, letter in LETTERS.items():
        filled += parts.get(name, 0)
        # Up to where the sum is rounded, so that the bar's length is the plan's, not its rounding's.
        drawn += letter * (round(filled * width / capacity) - len(drawn))
    return drawn[: width - 1] + ">" if filled > capacity else drawn.ljust(width, ".")
