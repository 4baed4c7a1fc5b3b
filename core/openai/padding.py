"""Random characters beside a delta: whoever sees only the sizes of a stream's messages learns less of its text."""

import secrets

# Bytes: most tokens with what surrounds them are of one size then.
BLOCK = 64


def obfuscation(size: int) -> str:
    """What fills a message of `size` bytes up to a multiple of BLOCK."""
    wanted = -size % BLOCK
    return secrets.token_urlsafe(wanted)[:wanted]
