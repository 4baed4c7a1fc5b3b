"""What vectors do not see: two texts that are almost the same and ask for something else.

An embedding puts "open" beside "close", "all" beside "some" and 1914 beside 1941: of one-word changes it cannot
tell which matter. So vectors only find candidates, and a semantic hit must also be the same question by these
rules: one that asks in the same way, of the same words in the same order, once what is only phrasing is taken
off ("How do I ..." and "What is the way to ..."). They are few, of English, and wrong mostly on the safe side:
a synonym is a miss, and the job is then simply run.
"""

import re

# Words and numbers, and each sign that can change what is asked: 2 + 2 and 2 - 2, C++ and C#, .5 and 5, 5! and 5.
_WORD = re.compile(
    r"\d*(?:[.,]\d+)+|[\w']+(?:[.,]\d+)*|(?<=\d)!|!(?=\w)|[^\w\s.,;:!?\"'\u2018-\u201f\u2026]"
)
# A letter that names something, "vitamin A" and not the article; marked, since all else is compared in lower case.
_NAMED = re.compile(r"(?<=\S )A\b")
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
_SMALL = frozenset({"a", "an", "the", "is", "are", "do", "does", "me", "of", "to", "please"})
# Of a word without its "ing", which may have ended in "e": "changing" is like "change".
_CUT = "~"


def differs(one: str, other: str) -> bool:
    """Whether the two must not share an answer, however alike they are."""
    if one == other:
        return False
    (yes_no, asked), (also, against) = _asked(one), _asked(other)
    # Two of which nothing is left are not known to be the same.
    if not asked or yes_no != also or len(asked) != len(against):
        return True
    return not all(map(_same, asked, against))


def _asked(text: str) -> tuple[bool, list[str]]:
    """Whether it asks for yes or no, and the words that say what it asks."""
    marked = _NAMED.sub("a_", " ".join(text.replace("\u2019", "'").split()))
    plain = _POLITE.sub("", marked.lower())
    first = _WORD.match(plain)
    for pattern, short in _PHRASES:
        plain = pattern.sub(short, plain)
    words = ["not" if word.endswith("n't") else word for word in _WORD.findall(plain)]
    kept = [_stem(word) for word in words if word not in _SMALL]
    return first is not None and first[0] in _OPENS_YES_NO, kept


def _stem(word: str) -> str:
    """Without a plural's ending or "ing", for words that are long enough to have one."""
    if len(word) > 6 and word.endswith("ing"):
        return word.removesuffix("ing") + _CUT
    plural = len(word) > 4 and word.endswith("s") and not word.endswith("ss")
    return word.removesuffix("s") if plural else word


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    short, long = sorted((one, other), key=lambda word: not word.endswith(_CUT))
    return short.endswith(_CUT) and long in (short[:-1], short[:-1] + "e")
