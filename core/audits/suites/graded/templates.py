"""Templates as OpenAI's evals write them: {{item.name}} of a line of the file, {{sample.output_text}} of the answer."""

import json
import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"item(\.[^.\s]{1,64}){1,8}|sample\.output_text")
OUTPUT = "sample.output_text"


def places(template: str) -> set[str]:
    """What a template names. Raises ValueError for what is neither of an item nor the answer."""
    found = set(_PLACE.findall(template))
    if wrong := next((name for name in sorted(found) if not _NAME.fullmatch(name)), None):
        raise ValueError(
            f"{{{{{wrong[:64]}}}}} is not known; write {{{{item.name}}}} or {{{{{OUTPUT}}}}}"
        )
    return found


def filled(template: str, item: Mapping[str, Any], output: str = "") -> str:
    """The template with its places filled. What is no text is written as JSON.

    Raises KeyError with the place for one that the item does not have. What is put in is not read again: a brace in
    an answer is a brace.
    """
    return _PLACE.sub(lambda found: _at(found[1], item, output), template)


def _at(place: str, item: Mapping[str, Any], output: str) -> str:
    if place == OUTPUT:
        return output
    value: Any = item
    for name in place.split(".")[1:]:
        if not isinstance(value, Mapping) or name not in value:
            raise KeyError(place)
        value = value[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
