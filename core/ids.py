"""Identifiers that sort by the time they were made, so that an index on them is also a timeline."""

import os
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case


class _Clock:
    """Numbers that rise, also within a millisecond and while the system's clock is set back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """48 bits of milliseconds, then 80 random bits; of the same millisecond a random step more."""
        number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
        with self._lock:
            if number >> 80 <= self._last >> 80:
                number = self._last + 1 + int.from_bytes(os.urandom(8))
            self._last = number
        return number


_clock = _Clock()


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters (the ULID layout); those of one process sort in the order they were made."""
    number = _clock.next()
    return prefix + "_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
