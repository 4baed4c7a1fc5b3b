"""The report as one HTML page that stands alone: it loads nothing, runs nothing, and escapes all that others wrote."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.audits.report import plots
from core.drawing.scale import short
from core.drawing.style import STYLE

_HERE = Path(__file__).parent
_STYLE = STYLE + (_HERE / "page.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Of the page itself; kept when it is saved as a file.
_IN_PAGE = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
# Of the answer that carries it. `sandbox`: what would slip through all escaping could still do nothing.
SECURITY = f"{_IN_PAGE}; frame-ancestors 'none'; sandbox"
# Of what others wrote a page shows so many pairs; settings and options are few.
MOST_PAIRS = 60
# The verdict stays on the first screen.
MOST_REASONS = 12


def page(report: Mapping[str, Any]) -> str:
    """The page of a report as core.audits.report.service gives it, finished or not."""
    return _ENVIRONMENT.get_template("page.html").render(
        report=report, provenance=list(_provenance(report))
    )


def digits(value: float) -> str:
    """A number as a person reads it: whole ones in full, others in three digits."""
    if value == int(value) if abs(value) < 1e15 else False:
        return short(value)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else short(float(f"{value:.3g}"))


def _provenance(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything that makes these figures these and no others."""
    yield "model", report["model"]
    yield from _some(report["subject"])
    if report["policy"]:
        yield "policy", f"{report['policy']['name']}@{report['policy']['version']}"
        yield "policy digest", report["policy"]["digest"]
    yield from _some(report["baseline"] or {}, "baseline ")
    yield from _some(report["settings"])
    if report["probe"]:
        yield from _some(report["probe"], "probe: ")
    for one in report["imports"]:
        yield "imported", orjson.dumps(one).decode()
    job = report["job"]
    names = ("created_at", "started_at", "finished_at", "attempt", "cost")
    yield from _some({name: job[name] for name in names})
    yield from _some(job["usage"] or {}, "usage ")


def suite_rows(suite: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rows = [
        ("version", suite["version"]),
        ("licence", suite["licence"]),
        ("source", suite["source"]),
    ]
    rows += [
        (f"file {name}", f"{file['id']}, SHA-256 {file['sha256']}")
        for name, file in suite["files"].items()
    ]
    if not suite["files"]:
        rows.append(("file", "the pack that comes with this version of the suite"))
    rows.append(("templates", suite["split"]))
    if suite["classifier"]:
        rows.append(("scored with", "{}, SHA-256 {}".format(*suite["classifier"])))
    rows += _some(suite["options"], "option ")
    return [(name, value) for name, value in rows if value is not None]


def _some(found: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested objects as pairs; lists as JSON; what is null is left out."""
    out: list[tuple[str, Any]] = []
    for name, value in found.items():
        said = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            out += _some(value, f"{said} ")
        elif isinstance(value, bool):
            out.append((said, "yes" if value else "no"))
        elif isinstance(value, list):
            out.append((said, orjson.dumps(value).decode()))
        elif value is not None:
            # A seed is copied, not read.
            out.append((said, str(value) if isinstance(value, int) else value))
    return out[:MOST_PAIRS]


def level(effect: float, most: float) -> str:
    """The class of a span by its strength: more than half of the strongest, or less."""
    return "-strong" if most and abs(effect) > most / 2 else ""


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["digits"], made.filters["json"] = digits, _json
    made.globals |= {
        "badge": plots.badge,
        "plots": plots,
        "suite_rows": suite_rows,
        "level": level,
        "most_reasons": MOST_REASONS,
        "style": Markup(_STYLE),  # noqa: S704 - our own style sheet
        "security": _IN_PAGE,
    }
    return made


_ENVIRONMENT = _environment()
