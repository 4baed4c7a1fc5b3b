"""Puts the right mark at the end of direct speech, whichever option of a rule was said.

The rules offer questions and statements in the same place ("[Who is there|It is dark]," she said),
so the mark can only be chosen when the words are known.
"""

import re

_SPEECH = re.compile(r'"([^"\n]*)([?,.])"(?:( (?:he |she |it )?)asked\b)?(?=( [a-z])?)')
_SENTENCE_END = re.compile(r"(?<=[.?!]) ")
_ASKS = re.compile(
    r"(?:But |And |Then |So |Oh, )?(?:what(?! a\b)|who|whose|where|why|which"
    r"|how(?! (?:good|beautiful|to)\b)|is|are|does|did|can|could|may|shall|will|would"
    r"|has|have|was|were|do(?! (?:not|one)\b))\b",
    re.IGNORECASE,
)


def _mark(match: re.Match[str]) -> str:
    words, mark, asker, goes_on = match.group(1, 2, 3, 4)
    if _ASKS.match(_SENTENCE_END.split(words)[-1]):
        return f'"{words}?"' + ("" if asker is None else f"{asker}asked")
    if mark == "?":
        mark = "." if asker is None and goes_on is None else ","
    return f'"{words}{mark}"' + ("" if asker is None else f"{asker}said")


def with_question_marks(text: str) -> str:
    return _SPEECH.sub(_mark, text)
