"""Rules: numbers by their own checks, patterns of tenants within bounds, and what is not to be taken for a secret."""

import pytest

from core.guard import bounded, checks
from core.guard.settings import GuardSettings
from tests.guarding import guard, whole

BY = guard()


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "1234567890123456",
        "the year 1984 and 2001",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-45-67890",
        "GB82 WEST 1234 5698 7654 33",
        "XX89370400440532013001",
        "jane at example.com",
        "@handle",
        "user@localhost",
        "1.2.3",
        "version 1.2.3.4.5",
        "256.1.1.1",
        "std::vector",
        "12:30:45",
        "a::b",
        "sk-short",
        "EMP-12345",
        "+1 23",
        "(212) 55-01234",
        "2026-11-29 17:46:03",
    ],
)
def test_what_only_looks_like_one_is_said(text: str) -> None:
    assert whole(BY, f"so {text} , then") == f"so {text} , then"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4111 1111 1111 1111 12 pieces", "[card] 12 pieces"),
        ("12 4111 1111 1111 1111", "12 [card]"),
        ("\uff14\uff11\uff11\uff11 1111 1111 1111", "[card]"),
        ("gb82 west 1234 5698 7654 32 is it", "[iban] is it"),
        ("2001:db8::ff00:42:8329", "[ip]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4", "[api_key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\n-----END RSA PRIVATE KEY-----", "[api_key]"),
        ("j\u0430ne@ex\u0430mple.com", "[email]"),
        ("jos\u00e9@example.com", "[email]"),
    ],
)
def test_the_sound_part_is_taken(text: str, said: str) -> None:
    assert whole(BY, text) == said


def test_every_country_has_its_length() -> None:
    assert checks.iban("GB82WEST12345698765432") == 22
    assert checks.iban("GB82WEST1234569876543") == 0


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a+)+b", "bound"),
        ("a*", "bound"),
        ("(a|a){1,30}b", "ways"),
        ("(?=a)b", "looks around"),
        (r"(a)\1", "refers back"),
        ("(?i)a", "flags"),
        ("(?i:a)", "flags"),
        ("^a", "beginning"),
        ("a$", "beginning"),
        ("a?", "empty"),
        ("[a-z]{1,200}[0-9]{1,200}", "most"),
        ("[", "no regular expression"),
        ("a" * 500, "characters"),
        ("(?>a|b)c", "atomic"),
        ("a{1,3}+b", "possessive"),
        ("(?P<x>a)(?P=x)", "refers back"),
    ],
)
def test_a_pattern_without_bounds_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bounded.rule("x", pattern)


def test_a_token_that_would_complete_something_is_hidden_in_json_too() -> None:
    assert BY.scanner.hides("badwor", "d")
    assert BY.scanner.hides(r'{"x": "b\u0061dwor', "d", escaped=True)
    assert not BY.scanner.hides("the riv", "er")


def test_another_setting_is_another_guard() -> None:
    one = GuardSettings.model_validate({"mode": "enforce"})
    assert one.digest == GuardSettings.model_validate({"mode": "enforce"}).digest
    assert one.digest != GuardSettings.model_validate({"mode": "observe"}).digest
