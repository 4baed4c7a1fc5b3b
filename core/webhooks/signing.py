"""Standard Webhooks 1.0 signatures (symmetric): https://www.standardwebhooks.com."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """Enough to recognise a secret by, not enough to help a guess."""
    return f"{PREFIX}...{secret[-5:]}"


def sign(keys: Sequence[str], webhook_id: str, at: int, body: bytes) -> str:
    """The webhook-signature header: one `v1,<base64>` for each key, space separated.

    `at` is the webhook-timestamp in Unix seconds; receivers refuse one more than five minutes off.
    During a rotation both keys sign, and a receiver accepts when either matches.
    """
    content = b"%b.%d.%b" % (webhook_id.encode(), at, body)
    return " ".join(f"v1,{_mac(key, content)}" for key in keys)


def _mac(key: str, content: bytes) -> str:
    raw = base64.b64decode(key.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(raw, content, hashlib.sha256)).decode()
