"""What vectors do not see: two texts that are almost the same and ask for something else.

An embedding puts "open" beside "close", "all" beside "some" and 1914 beside 1941: of one-word changes it cannot
tell which matter. So vectors only find candidates, and a semantic hit must also be the same question by these
rules: one that asks in the same way, of the same words in the same order, once what is only phrasing is taken
off ("How do I ..." and "What is the way to ..."). They are few, of English, and wrong mostly on the safe side:
a synonym is a miss, and the job is then simply run.
"""

import re

_WORD = re.compile(r"[\w']+(?:[.,]\d+)*")
# What opens a request and says nothing of it.
_POLITE = re.compile(
    r"^(?:(?:please|hello|hi|hey|can you|could you|would you|will you|i would like to know|i want to know|"
    r"do you know|tell me|let me know)\s+)+"
)
_I = r"(?:i|we|you|one)"
_WAY = r"(?:(?:best|right|proper|usual) )?(?:way|process|procedure)"
_PHRASES = (
    (re.compile(rf"\bhow (?:do|can|could|should|would) {_I}\b"), " howto "),
    (re.compile(rf"\bwhat (?:do|can|should|must) {_I} do to\b"), " howto "),
    (re.compile(rf"\bwhat(?: is|'s) (?:the|a) {_WAY} (?:to|of|for)\b"), " howto "),
    (re.compile(r"\bwhat are the steps (?:to|for|of)\b"), " howto "),
    (re.compile(r"\bhow to\b"), " howto "),
    (re.compile(r"^(?:what(?: is|'s| are)|explain(?: to me)?|describe|define)(?: what)?\b"), " which "),
    (re.compile(r"\bwhat\b"), " which "),
)  # fmt: skip
_OPENS_YES_NO = frozenset(
    {"is", "are", "am", "was", "were", "do", "does", "did", "can", "could", "will", "would", "should",
     "shall", "may", "might", "must", "has", "have", "had"}
)  # fmt: skip
# Words that carry no meaning of their own beside those that stay. Not "my", "was", "from" or "not".
_SMALL = frozenset({"a", "an", "the", "is", "are", "do", "does", "i", "me", "of", "to", "please"})


def differs(one: str, other: str) -> bool:
    """Whether the two must not share an answer, however alike they are."""
    return _asked(one) != _asked(other)


def _asked(text: str) -> tuple[bool, list[str]]:
    """Whether it asks for yes or no, and the words that say what it asks."""
    plain = _POLITE.sub("", " ".join(text.lower().replace("\u2019", "'").split()))
    first = _WORD.match(plain)
    for pattern, short in _PHRASES:
        plain = pattern.sub(short, plain)
    words = ["not" if word.endswith("n't") else word for word in _WORD.findall(plain)]
    kept = [_stem(word) for word in words if word not in _SMALL]
    return first is not None and first[0] in _OPENS_YES_NO, kept


def _stem(word: str) -> str:
    """Without a plural's or a participle's ending, for words that are long enough to have one."""
    for ending in ("ing", "es", "s", "e"):
        if len(word) > len(ending) + 3 and word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word
