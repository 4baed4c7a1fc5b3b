"""A tenant's own pattern: read, and refused unless it is bounded in length and in the ways in which it can match.

Python's engine tries every way; a pattern with few ways has no bad text (ReDoS). So there are no "*" and "+", no
look-around and no back-references, and the ways are counted before it is used.
"""

import re
from importlib import import_module
from typing import Any

from core.guard.rule import Rule, literally, opening

# The engine's own reading of a pattern: the one that it will follow.
_parser: Any = import_module("re._parser")
LONGEST, WAYS, TEXT = 256, 4096, 400
_REFUSED = {
    "ASSERT": "looks around; leave (?=...), (?!...), (?<=...) and (?<!...) out",
    "ASSERT_NOT": "looks around; leave (?=...), (?!...), (?<=...) and (?<!...) out",
    "GROUPREF": "refers back to a group; write it out",
    "GROUPREF_EXISTS": "depends on a group; write both patterns",
    "MAX_REPEAT": "repeats without a bound, or more than 256 times; give one, such as {1,20}",
    "MIN_REPEAT": "repeats without a bound, or more than 256 times; give one, such as {1,20}",
    "ATOMIC_GROUP": "has an atomic group; write a plain one",
    "POSSESSIVE_REPEAT": "has a possessive repetition; write a plain one",
}


def rule(category: str, pattern: str) -> Rule:
    """The rule of a tenant's pattern. Raises ValueError, which says what is wrong with it."""
    if not 0 < len(pattern) <= TEXT:
        raise ValueError(f"has {len(pattern)} characters; give 1 to {TEXT}")
    try:
        tree = _parser.parse(pattern)
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    if compiled.flags & ~re.UNICODE:
        raise ValueError("sets flags; leave (?i) and the like out")
    ways = _ways(tree)
    shortest, longest = (int(n) for n in tree.getwidth())
    if not shortest:
        raise ValueError("matches the empty text; ask for one character at least")
    if longest > LONGEST:
        raise ValueError(f"may match {longest} characters; {LONGEST} are the most")
    if ways > WAYS:
        raise ValueError(
            f"can match in more than {WAYS} ways; have fewer or shorter {{m,n}} and alternatives"
        )
    return Rule(category, compiled, longest + 1, "", _opens(tree))


def _opens(tree: Any) -> re.Pattern[str]:
    """The letters that it begins with. Where it begins with none, text waits for as long as a match may be."""
    letters = ""
    for op, argument in tree:
        if str(op) == "LITERAL":
            letters += chr(argument)
        elif str(op) != "AT":
            break
    return opening(*literally(letters)) if letters else re.compile(r"(?s:.)")


def _ways(tree: Any) -> int:
    total: int = 1
    for op, argument in tree:
        total = min(total * _one(str(op), argument), WAYS + 1)
    return total


def _one(op: str, argument: Any) -> int:
    match op:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "CATEGORY" | "RANGE":
            return 1
        case "AT":
            # Boundaries of words; those of texts and lines would depend on where a look began.
            if "BOUNDARY" not in str(argument):
                raise ValueError(
                    "asks for the beginning or end of a text; use \\b, or leave it out"
                )
            return 1
        case "SUBPATTERN":
            if argument[1] or argument[2]:
                raise ValueError("sets flags; leave (?i: and the like out")
            return _ways(argument[3])
        case "BRANCH":
            return min(sum(map(_ways, argument[1])), WAYS + 1)
        case "MAX_REPEAT" | "MIN_REPEAT" if argument[1] <= LONGEST:
            least, most, inner = argument
            each = _ways(inner)
            total: int = sum(each**count for count in range(least, most + 1))
            return min(total, WAYS + 1)
    raise ValueError(_REFUSED.get(op, f"has {op.lower()}, which is not taken"))
