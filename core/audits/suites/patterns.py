"""Regular expressions that an uploaded file brings: their work is bounded when they are loaded, not when they hang.

Python's matcher tries alternatives in turn. How many ways there are through a pattern is counted from its parse tree;
a pattern is taken when that number times the places at which a search may begin stays below a bound.
"""

import importlib
import re
from typing import Any

# Of an answer, its end is searched: there an answer stands when a model reasons first.
LONGEST = 4000
LONGEST_PATTERN = 500
# About half a second of Python's matcher.
STEPS = 20_000_000
_ADVICE = r"bound its repeats (\d{1,9} for \d+) or make them possessive (\s*+ for \s*)"

# The parser behind `re` has no public name.
_parser: Any = importlib.import_module("re._parser")


def compiled(pattern: str) -> re.Pattern[str]:
    """Raises ValueError with words for whoever wrote it."""
    if not 0 < len(pattern) <= LONGEST_PATTERN:
        raise ValueError(f"must have 1 to {LONGEST_PATTERN} characters")
    try:
        found = re.compile(pattern)
        ways = _sequence(_parser.parse(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if ways * LONGEST > STEPS:
        raise ValueError(f"may take too long on some answers; {_ADVICE}")
    if found.search(""):
        raise ValueError("matches an empty answer, and so says nothing")
    return found


def searched(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return pattern.search(text[-LONGEST:])


def _sequence(parts: Any) -> int:
    """Ways through parts that follow each other: the product of theirs."""
    ways = 1
    for name, argument in parts:
        ways = min(ways * _ways(str(name), argument), STEPS + 1)
    return ways


def _ways(name: str, argument: Any) -> int:
    match name:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT":
            return 1
        case "SUBPATTERN":
            return _sequence(argument[3])
        case "BRANCH":
            return sum(_sequence(one) for one in argument[1])
        case "MAX_REPEAT" | "MIN_REPEAT":
            return _repeated(*argument)
        case "POSSESSIVE_REPEAT":
            # It never goes back into what it has taken: each round is matched once.
            return _sequence(argument[2])
        case "ATOMIC_GROUP":
            return _sequence(argument)
        case _:
            raise ValueError(
                f"uses {name.lower().replace('_', ' ')}, whose work has no bound here; write it without"
            )


def _repeated(fewest: Any, most: Any, body: Any) -> int:
    least, rounds = int(fewest), min(int(most), LONGEST)
    inner = _sequence(body)
    if inner == 1:
        return rounds - min(least, rounds) + 1
    # Each round has its own ways: they multiply, and so a repeat within a repeat is refused unless both are short.
    ways = sum(inner ** min(k, 32) for k in range(least, rounds + 1))
    return STEPS + 1 if ways > STEPS else ways
