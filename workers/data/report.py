"""What was done, as numbers: rows by what became of them, tokens, padding, and the digest of what came out."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from workers.data import padding
from workers.data.filtering import Filtering
from workers.data.plan import Plan
from workers.data.reading import Read
from workers.data.tokenising import Cut


class Counted(Protocol):
    """Documents as ids: how long each is, all their tokens, and those that are learned."""

    lengths: "array[int]"
    learned: int

    @property
    def tokens(self) -> int: ...


def begun(read: Read, filtering: Filtering, kept: int) -> dict[str, Any]:
    rows = len(read.rows)
    return {
        "formats": dict(sorted(read.formats.items())),
        "rows": {"read": rows, "kept": kept, "dropped": rows - kept},
        "dropped": filtering.told,
        "cleaned": dict(sorted(filtering.cleaning.changed.items())),
        "notes": {
            **dict(sorted(read.odd.items())),
            "fields_not_read": dict(sorted(read.unread.items())),
            "exact_duplicates": filtering.duplicates,
        },
    }


def part(
    plan: Plan, augmented: int, digest: str, made: Counted, rows: Sequence[int], cut: Cut
) -> dict[str, Any]:
    """Of one side. `rows`: the lengths of what the trainer reads, which are packed documents."""
    waste = padding.compared(made.lengths, plan.max_length, plan.batch_size, plan.seed)
    return {
        "documents": len(made.lengths),
        "rows": len(rows),
        "augmented": augmented,
        "tokens": made.tokens,
        "learned_tokens": made.learned,
        "longest": max(made.lengths),
        "longest_row": max(rows),
        "lengths": histogram(made.lengths),
        "padding": {"batch_size": plan.batch_size, **waste},
        "truncated": cut.truncated.told,
        "too_long": cut.too_long.told,
        "digest": digest,
    }


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """How many are at most 16, 32, 64 ... and above the mark before."""
    counts: dict[int, int] = {}
    for length in lengths:
        mark = max(16, 1 << (length - 1).bit_length())
        counts[mark] = counts.get(mark, 0) + 1
    return {str(mark): counts[mark] for mark in sorted(counts)}


def finished(plan: Plan, told: dict[str, Any]) -> dict[str, Any]:
    """With what is said of the whole: the training side's numbers once more, and one digest of both."""
    sides = [told[name]["digest"] for name in ("train", "validation") if name in told]
    train = told["train"]
    for name in ("tokens", "learned_tokens", "padding", "truncated", "too_long"):
        if name in train:
            told[name] = train[name]
    return told | {
        "digest": hashlib.sha256("\n".join(sides).encode()).hexdigest(),
        "max_length": plan.max_length if plan.tokenise else None,
        "packing": plan.packing if plan.tokenise else None,
        "seed": plan.seed,
    }
