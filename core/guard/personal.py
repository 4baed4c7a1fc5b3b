"""The rules that ship: what names a person or opens a door, checked by the numbers' own checks where they have one."""

import re
import string

from core.guard import checks
from core.guard.rule import LONGEST, Rule, literally, opening

_DIGITS, _ALNUM = string.digits, string.ascii_letters + string.digits
_LOCAL = _ALNUM + "._%+-"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# Prefixes that their issuers publish, so that scanners find what leaked: OpenAI and ourselves, GitHub, AWS, Google,
# Slack, GitLab, Hugging Face, Stripe; and JSON web tokens.
_KEYS = (
    r"sk-[A-Za-z0-9_-]{16,512}",
    r"gh[pousr]_[A-Za-z0-9]{20,255}",
    r"github_pat_[A-Za-z0-9_]{20,255}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"xox[abeprs]-[A-Za-z0-9-]{10,255}",
    r"glpat-[A-Za-z0-9_-]{20,255}",
    r"hf_[A-Za-z0-9]{20,255}",
    r"(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,255}",
    r"eyJ[A-Za-z0-9_-]{8,300}\.eyJ[A-Za-z0-9_-]{8,600}\.[A-Za-z0-9_-]{8,400}",
)
_PEM = "-----BEGIN "

RULES = (
    Rule(
        "email",
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
        ),
        476,
        _LOCAL + "@",
        opening("(?<![A-Za-z0-9._%+-])", "[A-Za-z0-9._%+-]"),
        needs="@",
    ),
    Rule(
        "card",
        re.compile(r"(?<![0-9])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])"),
        38,
        _DIGITS + " -",
        opening("(?<![0-9])", "[2-6]", "[0-9 -]"),
        checks.card,
        needs=_DIGITS,
    ),
    Rule(
        "iban",
        # Letters of the words behind it may be in the match: the check knows how long its country's are.
        re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}"),
        65,
        _ALNUM + " -",
        opening("(?<![A-Za-z0-9])", "[A-Za-z]", "[A-Za-z]", "[0-9]", "[0-9]"),
        checks.iban,
        needs=_DIGITS,
    ),
    Rule(
        "ssn",
        re.compile(
            r"(?<![0-9-])(?!000|666|9)[0-9]{3}(?P<by>[- ])(?!00)[0-9]{2}(?P=by)(?!0000)[0-9]{4}(?![0-9])"
        ),
        12,
        _DIGITS + " -",
        opening("(?<![0-9-])", "[0-8]", "[0-9]", "[0-9]", "[- ]"),
        needs=_DIGITS,
    ),
    Rule(
        "phone",
        re.compile(r"(?<![0-9+])\+[1-9](?:[ .()-]{0,2}[0-9]){6,14}(?![0-9])"),
        46,
        _DIGITS + "+ .()-",
        opening("(?<![0-9+])", r"\+", "[1-9]"),
        needs="+",
    ),
    Rule(
        "phone",
        re.compile(
            r"(?<![0-9A-Za-z-])(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4}(?![0-9])"
        ),
        16,
        _DIGITS + " .()-",
        opening("(?<![0-9A-Za-z-])", "[(2-9]", "[0-9]", "[0-9]"),
        needs=_DIGITS,
    ),
    Rule(
        "ip",
        re.compile(rf"(?<![0-9.])(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9]|\.[0-9])"),
        17,
        _DIGITS + ".",
        opening("(?<![0-9.])", "[0-9]", "[0-9.]"),
        needs=".",
    ),
    Rule(
        "ip",
        re.compile(r"(?<![0-9A-Za-z:])[0-9A-Fa-f:]{5,39}(?![0-9A-Za-z:])"),
        40,
        string.hexdigits + ":",
        opening("(?<![0-9A-Za-z:])", "[0-9A-Fa-f:]"),
        checks.address,
        needs=":",
    ),
    Rule(
        "api_key",
        re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_KEYS)})"),
        1400,
        _ALNUM + "_-.",
        opening("(?<![A-Za-z0-9_-])", "[sgAxhpre]", "[khIioKSlyf]"),
    ),
    Rule(
        "api_key",
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s]{0,3900}"
            r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
        ),
        LONGEST,
        _ALNUM + "+/=- \t\r\n",
        opening(*literally(_PEM)),
        needs="-",
    ),
)
CATEGORIES = tuple(dict.fromkeys(rule.category for rule in RULES))
