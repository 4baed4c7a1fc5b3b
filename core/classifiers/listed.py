"""Classifiers by name: those that are built in, and any other through `module:factory`."""

import importlib
import string
from collections.abc import Callable
from functools import cache
from typing import Any

from core.classifiers.classifier import Card, Classifier
from core.classifiers.lexical import moderation, refusal
from core.config import settings
from core.errors import InvalidInput

BUILT_IN: dict[str, Callable[[], Classifier]] = {
    moderation.NAME: moderation.load,
    refusal.NAME: refusal.load,
}


def classifier(name: str = "") -> Classifier:
    """The one that PENSTOCK_CLASSIFIER names, when `name` is empty; one instance a process.

    Raises InvalidInput that says what is wrong with what the name leads to.
    """
    return _made(name or settings().classifier)


@cache
def _made(name: str) -> Classifier:
    if name in BUILT_IN:
        return BUILT_IN[name]()
    path, _, factory = name.partition(":")
    if not factory:
        raise _wrong(name, f"it is none of {', '.join(BUILT_IN)}, and module:factory names another")
    try:
        found = getattr(importlib.import_module(path), factory)()
    except ImportError as error:
        raise _wrong(name, f"the module cannot be imported: {error}") from error
    except AttributeError as error:
        raise _wrong(name, f"{error}") from error
    return _checked(name, found)


def _checked(name: str, found: Any) -> Classifier:
    for part, kind in (("name", str), ("digest", str), ("categories", tuple), ("card", Card)):
        if not isinstance(getattr(found, part, None), kind):
            raise _wrong(name, f"what the factory made has no {part} ({kind.__name__})")
    if not callable(getattr(found, "scores", None)):
        raise _wrong(name, "what the factory made has no scores(texts)")
    if len(found.digest) != 64 or not set(found.digest) <= set(string.hexdigits.lower()):
        raise _wrong(name, "digest is to be a sha256 in 64 hexadecimal digits")
    if missing := set(found.categories) - set(found.card.thresholds):
        raise _wrong(name, f"its card has no threshold for {', '.join(sorted(missing))}")
    if found.card.digest != found.digest:
        raise _wrong(name, "its card was measured on another digest")
    checked: Classifier = found
    return checked


def _wrong(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"PENSTOCK_CLASSIFIER, {name}: {why}", param="classifier")
