"""Numbers that carry their own check: of a match, how much of it is sound.

Each function gets the text of a match and returns the length of the sound part at its beginning, 0: none. A match may
be longer than what is meant, "4111 1111 1111 1111 12 pieces"; a part ends where no further digit follows it.
"""

import ipaddress
from collections.abc import Iterator

# Of the IBAN registry: how long an account number is, by country.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
_CARD = range(13, 20)
# The digits that issuers of payment cards begin with; every tenth number of other kinds would pass Luhn's check, too.
_ISSUERS = frozenset("23456")


def card(text: str) -> int:
    """Luhn's check (ISO/IEC 7812-1), of 13 to 19 digits."""
    if text[0] not in _ISSUERS:
        return 0
    digits = [(int(c), at) for at, c in enumerate(text) if c.isdigit()]
    for count in reversed(_CARD):
        if len(digits) < count:
            continue
        end = digits[count - 1][1] + 1
        if not text[end : end + 1].isdigit() and luhn([d for d, _ in digits[:count]]):
            return end
    return 0


def luhn(digits: list[int]) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0 and any(digits)


def iban(text: str) -> int:
    """ISO 13616: as long as its country says, and 1 modulo 97."""
    wanted = IBAN_LENGTHS.get(text[:2].upper(), 0)
    kept = [(c.upper(), at) for at, c in enumerate(text) if c not in " -"]
    if not wanted or len(kept) < wanted:
        return 0
    end = kept[wanted - 1][1] + 1
    if text[end : end + 1].isalnum():
        return 0
    number = "".join(c for c, _ in kept[:wanted])
    return end if int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1 else 0


def address(text: str) -> int:
    """An IPv6 address with three groups at least: "::" and "a::b" are found in programs."""
    for end in _ends(text):
        part = text[:end]
        if sum(map(bool, part.split(":"))) < 3:
            break
        try:
            ipaddress.IPv6Address(part)
        except ValueError:
            continue
        return end
    return 0


def _ends(text: str) -> Iterator[int]:
    """Where a part may end: at the end, and before a colon."""
    yield len(text)
    for end in range(len(text) - 1, 0, -1):
        if text[end] == ":":
            yield end
