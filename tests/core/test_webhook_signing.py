"""Signatures, as the Standard Webhooks package checks them."""

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.webhooks import signing

BODY = '{"type": "job.succeeded", "text": "häßlich"}'.encode()


def _headers(keys: list[str], at: int) -> dict[str, str]:
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signing.sign(keys, "evt_1", at, BODY),
    }


def test_the_reference_package_verifies_a_signature() -> None:
    secret = signing.new_secret()
    Webhook(secret).verify(BODY, _headers([secret], int(time.time())))


def test_during_a_rotation_either_secret_verifies() -> None:
    new, old = signing.new_secret(), signing.new_secret()
    headers = _headers([new, old], int(time.time()))
    Webhook(new).verify(BODY, headers)
    Webhook(old).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(BODY, headers)


def test_a_changed_body_does_not_verify() -> None:
    secret = signing.new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", _headers([secret], int(time.time())))


def test_secrets_are_long_random_and_only_hinted_at() -> None:
    one, other = signing.new_secret(), signing.new_secret()
    assert one != other
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32
    hint = signing.hint(one)
    assert one.endswith(hint.removeprefix("whsec_..."))
    assert len(hint) < 16
