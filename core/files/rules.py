"""What a file may be called, be for, and how long it may stay."""

import unicodedata

from core.errors import InvalidInput

# What clients may upload for; the platform itself makes files of the last two.
UPLOADED = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MADE = ("batch_output", "fine-tune-results")
PURPOSES = UPLOADED + MADE

MAX_NAME = 255
# OpenAI's bounds: an hour to 30 days.
MIN_KEEP_S, MAX_KEEP_S = 3600, 2_592_000


def check_name(name: str, *, param: str = "file") -> str:
    """A plain file name. Raises InvalidInput: it is shown, logged and sent in headers."""
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidInput(f"the file's name must have 1 to {MAX_NAME} characters", param=param)
    if name in (".", "..") or "/" in name or "\\" in name:
        raise InvalidInput(
            "the file's name must be a name alone, without a path: no / or \\", param=param
        )
    # Controls, lone surrogates, and the separators that break lines; accents and emoji are fine.
    bad = [c for c in name if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    if bad:
        raise InvalidInput(
            f"the file's name holds the character U+{ord(bad[0]):04X}; remove it", param=param
        )
    return name


def check_purpose(purpose: str | None) -> str:
    if purpose not in UPLOADED:
        said = "is missing" if purpose is None else f"must not be {purpose[:64]!r}"
        raise InvalidInput(f"purpose {said}; choose from {', '.join(UPLOADED)}", param="purpose")
    return purpose


def check_keep(anchor: str | None, seconds: int | str | None) -> int | None:
    """`expires_after` as seconds after the file's creation; None: it stays. Raises InvalidInput."""
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidInput("expires_after.anchor must be created_at", param="expires_after.anchor")
    text = str(seconds)
    if not (text.isascii() and text.isdecimal() and len(text) < 10
            and MIN_KEEP_S <= int(text) <= MAX_KEEP_S):  # fmt: skip
        raise InvalidInput(
            f"expires_after.seconds must be a number from {MIN_KEEP_S} to {MAX_KEEP_S}",
            param="expires_after.seconds",
        )
    return int(text)
