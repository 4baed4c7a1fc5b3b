"""docs/guard.md shows what was measured of the router, on the lines and the classifier that ship."""

import json

from bench import routing
from core.classifiers import labelled, listed


def test_the_table_of_the_page_is_what_was_measured() -> None:
    page = routing.PAGE.read_text()
    assert routing.filled(page) == page, "write it anew: python -m bench.routing"
    assert routing.table() in page


def test_it_was_measured_on_what_ships() -> None:
    found = json.loads(routing.KEPT.read_text())
    assert found["data"][1] == labelled.digest(labelled.MODERATION), (
        "measure again: python -m bench.routing"
    )
    assert found["classifier"] == listed.classifier("penstock-lexical@1").digest
