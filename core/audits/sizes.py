"""What a suite's questions may take, reckoned before they are counted: for the tenant's share and its limits."""

from functools import lru_cache

import orjson

from core.audits.asking import Ask, Rolling, Score, Write
from core.audits.chosen import Chosen
from core.audits.suites import listed

# Of English in most tokenizers.
BYTES_A_TOKEN = 4
# A published file's lines are asked about three times over: one question for each choice.
_TIMES = 3


def tokens(ask: Ask) -> int:
    """Of one item, four bytes a token, every answer as long as it may get."""
    match ask:
        case Write():
            return len(ask.plain.encode()) // BYTES_A_TOKEN + ask.max_tokens * ask.n
        case Score():
            return sum(len((a + b).encode()) for a, b in ask.pairs) // BYTES_A_TOKEN + len(
                ask.pairs
            )
        case Rolling():
            # Windows overlap by half where nothing else is said.
            return 2 * len(ask.text.encode()) // BYTES_A_TOKEN


def reckoned(chosen: Chosen, file_bytes: int) -> int:
    """Of a suite as it is asked. May read a shipped pack: called in a thread."""
    if file_bytes:
        return _TIMES * file_bytes // BYTES_A_TOKEN
    whole, count = _shipped(chosen.name, orjson.dumps(chosen.options, option=orjson.OPT_SORT_KEYS))
    part = 1.0 if chosen.items is None or not count else min(1.0, chosen.items / count)
    return int(whole * part)


@lru_cache(maxsize=256)
def _shipped(name: str, options: bytes) -> tuple[int, int]:
    """Tokens and items of a suite that needs no file."""
    suite = listed.find(name)
    found = suite.options.model_validate(orjson.loads(options))
    sizes = [tokens(item.ask) for item in suite.fit({}, found).items({}, found)]
    return sum(sizes), len(sizes)
