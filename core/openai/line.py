"""What the body of a batch's line asks for, whatever its endpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.jobs.kinds import InferenceJob


@dataclass(frozen=True, slots=True)
class Asked:
    """Specs to answer, and how their results become one answer.

    `unlimited`: the request names no limit of tokens, so the context is one.
    """

    specs: list[InferenceJob]
    names: dict[str, str]
    unlimited: bool
    answer: Callable[[dict[str, Any], Sequence[dict[str, Any]], Sequence[dict[str, Any]]], Any]
    prefix: str
    kind: str
