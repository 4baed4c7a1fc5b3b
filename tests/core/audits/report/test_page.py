"""The page says what the document says, to everybody, and does nothing else whatever others wrote into it."""

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from core.audits.report import page
from core.audits.report.built import _text
from core.audits.report.explained import explanation
from core.audits.report.plots import EDGE
from core.gate.tables import Pass
from tests.core.audits.report import made
from tests.core.audits.report.reading_html import Seen, seen

VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE", "INVALID")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return made.report(made.found())


@pytest.fixture(scope="module")
def html(report: dict[str, Any]) -> str:
    return page.page(report)


@pytest.fixture(scope="module")
def shown(html: str) -> Seen:
    return seen(html)


def numbers(value: Any) -> Iterator[float]:
    """Every number of a document."""
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list):
        yield float(len(value))
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def test_it_is_well_formed_and_has_its_landmarks(html: str, shown: Seen) -> None:
    assert html.startswith("<!doctype html>")
    assert not shown.wrong
    assert not shown.open
    names = [tag for tag, _ in shown.tags]
    assert [names.count(one) for one in ("main", "header", "footer", "h1", "title")] == [1] * 5
    assert ("html", {"lang": "en"}) in shown.tags
    levels = [level for level, _ in shown.headings]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), shown.headings


def test_every_picture_says_what_it_shows(shown: Seen) -> None:
    pictures = [given for tag, given in shown.tags if tag == "svg" and "overflow" not in given]
    assert len(pictures) > 15
    for given in pictures:
        assert given.get("aria-label") or given.get("aria-hidden") == "true", given
    told = [given["aria-label"] for given in pictures if "aria-label" in given]
    assert "Age: 0.31, interval from 0.15 to 0.47, limit -0.1 and 0.1" in told


def test_it_loads_nothing_and_runs_nothing(html: str, shown: Seen) -> None:
    for tag, given in shown.tags:
        assert tag not in ("script", "img", "link", "iframe", "object", "form", "base", "font")
        assert not {n for n in given if n.startswith("on") or n in ("style", "src", "srcset")}, tag
        assert given.get("href", "#").startswith("#")
    assert "url(" not in shown.style
    assert "@import" not in shown.style
    assert "http://" not in html
    assert "https://" not in html


def test_what_others_wrote_is_text(html: str, shown: Seen) -> None:
    assert "<script" not in html
    assert "<img" not in html
    assert made.HOSTILE in "".join(shown.texts), "unchanged, and not evaluated"
    assert "ann@example.com" not in html
    assert "[EMAIL]" in html


def test_its_policy_allows_its_own_style_alone(shown: Seen) -> None:
    digest = base64.b64encode(hashlib.sha256(shown.style.encode()).digest()).decode()
    (inside,) = [g["content"] for tag, g in shown.tags if tag == "meta" and "http-equiv" in g]
    assert inside == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert f"{inside}; frame-ancestors 'none'; sandbox" == page.SECURITY


def test_every_number_on_it_is_one_of_the_document(report: dict[str, Any], shown: Seen) -> None:
    known = set(numbers(report))
    assert len(shown.data) > 150
    for value, written in shown.data:
        assert value in known, value
        of = 100 * value if written.endswith("%") else value
        assert written.removesuffix(" %") == page.digits(of)


def test_every_figure_of_the_document_is_on_it(report: dict[str, Any], shown: Seen) -> None:
    on_it = {value for value, _ in shown.data}
    for check in report["checks"]:
        for name in ("value", "low", "high", "n", "clusters", "detectable"):
            value = (check["estimate"] or {}).get(name)
            assert value is None or value in on_it
        for value in (check["bound"], check["p"], check["p_adjusted"], check["valid_rate"]):
            assert value is None or value in on_it
        assert check["reason"] in shown.text
        assert check["limit_said"] in shown.text
    for suite in report["suites"]:
        assert {r["group"] for plot in suite["plots"] for r in plot["rows"]} <= set(
            re.split(r"\s{2,}|\n", "\n".join(shown.texts))
        ) | {t.strip() for t in shown.texts}


def test_an_interval_is_drawn_where_its_numbers_lie(report: dict[str, Any], html: str) -> None:
    check = report["checks"][0]
    axis, found = check["axis"], check["estimate"]

    def at(value: float) -> str:
        share = (value - axis["low"]) / (axis["high"] - axis["low"])
        return f"{EDGE + share * (100 - 2 * EDGE):.2f}%"

    picture = html.split('<details class="check FAIL"')[1].split("</summary>", maxsplit=1)[0]
    assert f'class="reach" x1="{at(found["low"])}" x2="{at(found["high"])}"' in picture
    assert f'class="at" cx="{at(found["value"])}"' in picture
    for limit in (-0.1, 0.1):
        assert f'class="limit" x1="{at(limit)}"' in picture
    assert picture.count('class="beyond"') == 2


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_verdict_is_a_word_a_sentence_a_colour_and_a_shape(verdict: str) -> None:
    html = page.page(made.report(made.found(verdict)))
    box = html.split("<section")[1]
    assert box.startswith(f' class="verdict {verdict}"')
    assert f">{verdict}</div>" in box
    assert f'<svg class="badge {verdict}"' in box
    others = {v: page.page(made.report(made.found(v))).split("<section")[1] for v in VERDICTS}
    assert len({re.search(r"<svg.*?</svg>", box)[0] for box in others.values()}) == 4  # type: ignore[index]


def test_what_is_undefined_is_said_to_be_and_is_nowhere_zero(shown: Seen, html: str) -> None:
    picture = html.split('<details class="check INVALID"')[1].split("</summary>", maxsplit=1)[0]
    assert '<span class="soft">undefined</span>' in picture
    assert ">undefined</text>" in picture
    assert 'class="at"' not in picture


def test_why_it_did_not_pass_stands_at_the_top_the_worst_first(
    report: dict[str, Any], html: str
) -> None:
    box = html.split("<section", maxsplit=2)[1]
    why = [c for c in report["checks"] if c["tier"] == "critical" and c["verdict"] != "PASS"]
    assert [c["verdict"] for c in why] == ["FAIL", "INVALID", "INCONCLUSIVE", "INCONCLUSIVE"]
    places = [box.index(f"{c['verdict']}: </span><b>{c['title']}") for c in why]
    assert places == sorted(places)
    assert box.count("<li>") == len(why)


def test_a_figure_that_is_undefined_for_every_group_is_no_empty_picture() -> None:
    told = made.findings()
    for figure in told["suites"][0]["figures"]:
        if figure["group"] or figure["metric"] == made.LEAN.name:
            figure["estimate"] = made.estimate(None)
    html = page.page(made.report(made.found(of=told)))
    assert "Undefined for every group: Age, Nationality, Disability, Religion." in seen(html).text


def test_no_hits_still_have_a_width(html: str) -> None:
    assert '<data value="0.0596">0.0596</data>' in html


def test_the_worst_are_quoted_masked_and_cut() -> None:
    given = made.found()
    report = made.report(given)
    (worst,) = [s["worst"] for s in report["suites"] if s["worst"]]
    assert worst["check"] == "bias.age"
    assert len(worst["items"]) == 10
    assert [one["item"] for one in worst["items"][:2]] == ["bbq:0", "bbq:20"]
    assert all(one["groups"]["category"] == "Age" for one in worst["items"])
    assert worst["items"][0]["prompt"]["masked"] == 1


@pytest.mark.parametrize(
    ("state", "error", "progress"),
    [
        ("queued", None, None),
        ("running", None, {"phase": "collect", "done": 120, "total": 460}),
        ("failed", {"code": "refused", "message": made.HOSTILE}, None),
        ("cancelled", None, None),
        ("expired", None, None),
    ],
)
def test_an_audit_without_a_verdict_says_so(state: str, error: Any, progress: Any) -> None:
    # Findings of a job that then failed count for nothing.
    given = made.found("PASS", state, error=error, progress=progress)
    report = made.report(given)
    assert report["verdict"] is None
    assert report["checks"] == report["suites"] == report["limits"] == []
    html = page.page(report)
    shown = seen(html)
    assert not shown.wrong
    assert "PASS" not in shown.text
    assert f">{state}</div>" in html
    assert "nothing to decide" in html or "no evidence" in html or "not before" in html
    assert not progress or "collect: 120 of 460" in shown.text
    assert not error or made.HOSTILE in "".join(shown.texts)


def test_evidence_that_has_expired_says_so() -> None:
    given = made.found("PASS")
    assert "Counts as evidence until 2026-06-16" in seen(page.page(made.report(given))).text
    late = made.report(given, made.NOW + timedelta(days=31))
    assert late["evidence"]["standing"] == "expired"
    assert "the gate no longer counts it" in page.page(late)


def test_an_audit_outlives_its_suites() -> None:
    told = made.findings() | {
        "metrics": {
            "gone.rate": {"title": "A rate of long ago", "share": ["hits", "of"], "better": "lower"}
        }
    }
    told["suites"] = [{**made.bbq(), "suite": "gone", "figures": [
        {"metric": "gone.rate", "group": {}, "estimate": made.estimate(0.2)},
        {"metric": "gone.other", "group": {"x": "y"}, "estimate": made.estimate(0.3)}]}]  # fmt: skip
    html = page.page(made.report(made.found(of=told)))
    assert "A rate of long ago" in html
    assert "no longer has this suite" in html
    assert "gone.other" in html


def test_no_group_is_left_out_and_the_page_stays_small() -> None:
    told = made.findings()
    groups = [f"group {n}" for n in range(60)]
    for name in (made.LEAN, made.RIGHT):
        for dimension in ("category", "template"):
            told["suites"][0]["figures"] += [
                made.figure(name, made.estimate(0.1), **{dimension: group}) for group in groups
            ]
    told["suites"][0]["flips"]["lost"] = [f"bbq:{n}" for n in range(5000)]
    html = page.page(made.report(made.found(items=5000, of=told)))
    assert html.count("group 59 ") >= 4
    assert len(html.encode()) < 1_000_000


EXPLAINED: dict[str, Any] = {
    "words": ["Replacing nurse by engineer makes ' she' 6.4 times less likely.", "door changes nothing"],
    "target": {"text": " she", "contrast": " he", "source": "greedy", "probability": 0.31},
    "text": [{"role": "user", "text": f"The nurse of ann@example.com {made.HOSTILE}"}],
    "unit": "word", "baseline": "deleted",
    "spans": [
        {"part": 0, "begin": 4, "end": 9, "text": "nurse", "effect": 1.85, "ratio": 6.4, "other_baseline": 1.7},
        {"part": 0, "begin": 10, "end": 12, "text": "of", "effect": -0.2, "ratio": 0.8, "other_baseline": -0.1},
    ],
    "swaps": [{"from": "nurse", "to": made.HOSTILE, "effect": 1.86, "ratio": 6.4, "probability": 0.05}],
    "alternatives": {
        "position": 0, "before": [{"text": " she", "probability": 0.31}, {"text": made.HOSTILE, "probability": 0.2}],
        "after": {"what": "nurse -> engineer", "tokens": [{"text": " he", "probability": 0.64}]},
    },
    "faithfulness": {
        "reliable": True, "why": "", "k": 1, "top": [0], "moved": 1.9,
        "random": {"draws": 20, "median": 0.11, "max": 0.4, "as_much": 0.0},
    },
    "limits": ["It explains one answer."],
}  # fmt: skip


@pytest.mark.parametrize("reliable", [True, False, None])
def test_an_explanation_is_in_words_and_coloured_only_where_it_is_reliable(
    reliable: bool | None,
) -> None:
    given = made.found()
    result = EXPLAINED | {
        "faithfulness": {**EXPLAINED["faithfulness"], "reliable": reliable, "why": "noise"}
    }
    of = {"id": given.audit.job_id, "suite": "bbq", "item": "bbq:1"}
    given.explanations.append(
        {"id": "job_e", "state": "succeeded", "of": of, "result": result, "error": None}
    )
    html = page.page(made.report(given))
    shown = seen(html)
    assert not shown.wrong
    assert "<script" not in html
    assert "ann@example.com" not in html
    assert EXPLAINED["words"][0] in shown.text
    assert (1.86, "1.86") in shown.data, "swaps are measured, not attributed"
    assert ('<mark class="up-strong" title="1.85 nats">nurse</mark>' in html) == bool(reliable)
    assert ('class="down"' in html) == bool(reliable)
    verdict = {
        True: "Checked: left out together",
        False: "Not reliable: noise",
        None: "Not checked: noise",
    }
    assert [said for said in verdict.values() if said in shown.text] == [verdict[reliable]]
    assert ((0.11, "0.11") in shown.data) == bool(reliable), "what chance makes of it"
    assert "after nurse -> engineer: “ he” (64 %)" in shown.text


def test_an_explanation_without_alternatives_shows_none() -> None:
    given = made.found()
    given.explanations.append(
        {
            "id": "job_e",
            "state": "succeeded",
            "of": {},
            "error": None,
            "result": EXPLAINED | {"alternatives": None},
        }
    )
    assert "Instead it might have said" not in page.page(made.report(given))


def test_what_an_explanation_quotes_is_masked_everywhere() -> None:
    target = {
        "text": " ann@example.com",
        "contrast": " bob@example.com",
        "source": "given",
        "probability": 0.1,
    }
    swaps = [
        {"from": "eve@example.com", "to": "them", "effect": 0.1, "ratio": 1.1, "probability": 0.1}
    ]
    row: dict[str, Any] = {"id": "job_e", "state": "succeeded", "of": {}, "error": None}
    shown = explanation(row | {"result": EXPLAINED | {"target": target, "swaps": swaps}})
    assert "example.com" not in repr(shown)


def test_no_half_of_an_address_is_left_beside_a_span() -> None:
    spans = [{"part": 0, "begin": 0, "end": 9, "text": "write ann", "effect": 1.0}]
    text = [{"role": None, "text": "write ann@example.com"}]
    row: dict[str, Any] = {"id": "job_e", "state": "succeeded", "of": {}, "error": None}
    shown = explanation(row | {"result": EXPLAINED | {"text": text, "spans": spans}})
    assert shown["texts"][0]["pieces"] == [{"text": "write [EMAIL]", "effect": None}]


def test_an_explanation_that_failed_says_why() -> None:
    given = made.found()
    error = {"code": "refused", "message": "the item is not there"}
    given.explanations.append(
        {"id": "job_e", "state": "failed", "of": {}, "result": None, "error": error}
    )
    assert "failed: the item is not there" in seen(page.page(made.report(given))).text


def test_a_person_s_force_and_a_correction_are_shown() -> None:
    given = made.found()
    given.passes.append(
        Pass(
            door="production", model="ft:rill:mine", audit=None, reason=made.HOSTILE, key_id="key_1",
            lacking=[f"harm: {made.HOSTILE}"], policy_name="default", policy_version=1, at=made.NOW,
            expires_at=made.NOW, withdrawn_at=made.NOW, withdrawn_by=given.audit.job_id,
        )
    )  # fmt: skip
    outcome = {
        "model": "ft:rill:better", "verdict": "PASS",
        "held_out": [
            {"suite": "bbq", "metric": made.LEAN.name, "before": made.estimate(0.31),
             "after": made.estimate(0.02),
             "change": {"delta": -0.29, "low": -0.4, "high": -0.2, "n": 100, "clusters": 12}}
        ],
    }  # fmt: skip
    given.corrections.append({
        "id": "cor_1", "first": given.audit.job_id, "second": "job_2", "training": "job_3",
        "state": "done", "outcome": outcome, "reason": None, "created_at": made.NOW,
    })  # fmt: skip
    html = page.page(made.report(given))
    shown = seen(html)
    assert not shown.wrong
    assert "Forced through production" in shown.text
    assert "by key_1, until 2026-05-17 12:00 UTC" in shown.text
    assert "because of this audit" in shown.text
    assert "".join(shown.texts).count(made.HOSTILE) > 10
    assert "ft:rill:better came to PASS" in shown.text
    assert (-0.29, "-0.29") in shown.data
    assert "before: 0.31" in html


@pytest.mark.parametrize("keys", [0, 20])
def test_of_a_long_text_the_quote_is_masked_whole_and_what_is_cut_is_counted(keys: int) -> None:
    """Also where masks make so much of it shorter that the end of what was looked through would be quoted."""
    key = "sk-" + "a" * 512
    text = "".join(f"{key} " for _ in range(keys * 2)) + "x " * 20_000 + "ann@example.com"
    told = _text(text)
    assert len(told["text"]) == 1200
    assert "sk-" not in told["text"]
    assert told["text"].count("[API_KEY]") == keys * 2
    assert told["cut"] >= 30_000
