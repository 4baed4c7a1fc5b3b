"""Answers kept in this process: the least recently used leave when their bytes pass the bound."""

import time
from collections import OrderedDict
from collections.abc import Hashable

# What an entry costs beside its bytes: the key, the tuple, the dictionary's place.
OVERHEAD = 400


class Memory:
    """Lives on one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._entries: OrderedDict[Hashable, tuple[bytes, float]] = OrderedDict()
        self.bytes = 0

    def get(self, key: Hashable) -> bytes | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] <= time.monotonic():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: bytes, ttl_s: float) -> None:
        self.drop(key)
        if len(value) + OVERHEAD > self._max:
            return
        self._entries[key] = (value, time.monotonic() + ttl_s)
        self.bytes += len(value) + OVERHEAD
        while self.bytes > self._max:
            self.drop(next(iter(self._entries)))

    def drop(self, key: Hashable) -> None:
        if (found := self._entries.pop(key, None)) is not None:
            self.bytes -= len(found[0]) + OVERHEAD
