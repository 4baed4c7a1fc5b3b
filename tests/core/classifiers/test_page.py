"""docs/audits-safety.md shows what the shipped classifiers were measured at, on our lines and on others'."""

import json

from bench import classifiers
from core.classifiers import listed
from core.classifiers.classifier import Share


def test_the_tables_of_the_page_are_true() -> None:
    page = classifiers.PAGE.read_text()
    assert classifiers.filled(page) == page, "write it anew: python -m bench.classifiers"
    for table in classifiers.tables().values():
        assert table in page


def test_what_was_measured_outside_is_of_the_shipped_classifier() -> None:
    shipped = listed.classifier("penstock-lexical@1")
    found = json.loads(classifiers.OUTSIDE.read_text())
    assert found["classifier"] == [shipped.name, shipped.digest], "measure again: --outside FILE"


def test_a_figure_is_shown_with_its_interval() -> None:
    assert classifiers.said(Share(7, 20)) == "0.35 [0.15, 0.59]"
    assert classifiers.said(Share(0, 0)) == "none"
