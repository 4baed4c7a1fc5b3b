"""What a report quotes shows nobody's address, telephone, card or account number."""

import pytest

from core.audits.report.masking import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("write to ann.smith+x@mail.example.co.uk now", "write to [EMAIL] now"),
        ("card 4111 1111 1111 1111.", "card [CARD]."),
        ("pay DE89 3704 0044 0532 0130 00 today", "pay [IBAN] today"),
        ("ssn 078-05-1120", "ssn [SSN]"),
        ("from 192.168.10.24 at noon", "from [IP] at noon"),
        ("call +49 (30) 1234 5678", "call [PHONE]"),
        ("call 030/1234-5678!", "call [PHONE]!"),
        ("card 4111 1111 1111 1112", "card [CARD]"),  # mistyped, and still somebody's
        ("jürgen@bücher.example", "[EMAIL]"),
        ("from 2001:db8::8a2e:370:7334", "from [IP]"),
        ("the key is sk-penstock-01kaq0v9ej6xk0m3c8s5t1w2yz", "the key is [API_KEY]"),
        ("s\u200bsn 078-05\u200b-1120", "s\u200bsn [SSN]"),
    ],
)
def test_personal_data_are_masked(text: str, shown: str) -> None:
    assert masked(text) == (shown, 1)


@pytest.mark.parametrize(
    "text", ["10 20 30", "in 1969 and 1984", "1.2.3", "a 29 year old", "0.123456789", "@home"]
)
def test_other_numbers_stay(text: str) -> None:
    assert masked(text) == (text, 0)
