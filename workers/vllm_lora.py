"""Adapters on a CPU, inside vLLM's engine process: one product for each adapter's rows, none for the base's.

vLLM 0.32's own (PunicaWrapperCPU) copies an adapter's matrices for every row, which costs a step of 64 rows eleven
times its time and three and a half times even where no row has an adapter; and a row without one takes the slot -1,
which is a stranger's, as soon as another row of the step has one. workers.vllm_plugin puts this class in its place.

    x_NI  the rows of a step     a_RI, b_OR  an adapter's two matrices of one layer     y_NO  what is added to
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

# The slot of an adapter, and which rows are its; None: all of them.
Rows = list[tuple[int, torch.Tensor | None]]


class GroupedLora(PunicaWrapperCPU):  # type: ignore[misc]  # vLLM ships no types
    """See vllm.lora.punica_wrapper.PunicaWrapperABC for the contract."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tokens: Rows = []
        self._prompts: Rows = []
        self._held: list[int | None] = []
        # By slot and layer: the matrices are as large as the largest rank that is allowed.
        self._ranks: dict[int, dict[int, int]] = {}

    def update_metadata(
        self, mapping: Any, lora_index_to_id: list[int | None], *rest: Any, **options: Any
    ) -> None:
        """For a step: which adapter each token and each prompt belongs to, 0 for none."""
        super().update_metadata(mapping, lora_index_to_id, *rest, **options)
        if self._held != lora_index_to_id:
            changed = zip_longest(self._held, lora_index_to_id)
            for slot in [n for n, (was, now) in enumerate(changed) if was != now]:
                self._ranks.pop(slot, None)
            self._held = list(lora_index_to_id)
        slots = {adapter: slot for slot, adapter in enumerate(lora_index_to_id) if adapter}
        self._tokens = grouped(mapping.index_mapping, slots)
        self._prompts = grouped(mapping.prompt_mapping, slots)

    def add_lora_linear(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: Any, lora_b_stacked: Any,
        scale: float, output_slices: Sequence[int], **_: Any,
    ) -> None:  # fmt: skip
        for slot, rows in self._tokens:
            x_NI = x if rows is None else x.index_select(0, rows)
            begin = 0
            for a, b, size in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                if rank := self._rank(slot, a):
                    delta_NO = _product(x_NI, a[slot, 0, :rank], b[slot, 0, :, :rank], scale)
                    _add(y[:, begin : begin + size], delta_NO, rows)
                begin += size

    def add_lora_logits(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: Any, lora_b_stacked: Any,
        scale: float, **_: Any,
    ) -> None:  # fmt: skip
        for slot, rows in self._prompts:
            rank = self._rank(slot, lora_a_stacked)
            if not rank:
                continue
            x_NI = x if rows is None else x.index_select(0, rows)
            a_RI, b_OR = lora_a_stacked[slot, 0, :rank], lora_b_stacked[slot, 0, :, :rank]
            delta_NO = _product(x_NI, a_RI, b_OR, scale)
            # The model and the adapters may be padded to different sizes.
            size = min(y.shape[1], delta_NO.shape[1])
            _add(y[:, :size], delta_NO[:, :size], rows)

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: Any, add_inputs: bool = True,
        **_: Any,
    ) -> None:  # fmt: skip
        assert add_inputs, "vLLM adds to the embedding and never replaces it"
        for slot, rows in self._tokens:
            x_NR = x if rows is None else x.index_select(0, rows)
            b_OR = lora_b_stacked[slot, 0]
            _add(y, x_NR.to(b_OR.dtype) @ b_OR.T, rows)

    def _rank(self, slot: int, stacked: torch.Tensor) -> int:
        """Of the slot's adapter in one layer, counted once; 0: it leaves the layer alone."""
        known = self._ranks.setdefault(slot, {})
        place = stacked.data_ptr()
        if place not in known:
            used = stacked[slot, 0].any(dim=1).nonzero()
            known[place] = int(used[-1]) + 1 if len(used) else 0
        return known[place]


def grouped(mapping: Sequence[int], slots: dict[int, int]) -> Rows:
    """The rows of each adapter in `mapping`, which holds an adapter's number or 0 for every row."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, adapter in enumerate(mapping):
        if adapter:
            places[adapter].append(place)
    return [
        (slots[adapter], None if len(rows) == len(mapping) else torch.tensor(rows))
        for adapter, rows in places.items()
    ]


def _product(
    x_NI: torch.Tensor, a_RI: torch.Tensor, b_OR: torch.Tensor, scale: float
) -> torch.Tensor:
    delta_NO = (x_NI.to(a_RI.dtype) @ a_RI.T) @ b_OR.T
    return delta_NO if scale == 1.0 else delta_NO * scale


def _add(y: torch.Tensor, delta: torch.Tensor, rows: torch.Tensor | None) -> None:
    if rows is None:
        y += delta
    else:
        y.index_add_(0, rows, delta.to(y.dtype))
