"""Files of labelled lines: read whole, and each fault told with its line and column."""

from pathlib import Path

import pytest

from core.classifiers import labelled
from core.classifiers.classifier import Share
from core.errors import InvalidInput

HEAD = "group\tlabels\ttext\n"


def test_lines_are_read_with_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "lines.tsv"
    path.write_text(HEAD + "a\tnone\tfirst\\nsecond\nb\thate,violence\tx\n")
    first, second = labelled.lines(path, ("hate", "violence"))
    assert (first.labels, first.text) == (frozenset(), "first\nsecond")
    assert second.labels == {"hate", "violence"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\tb\n", "lines.tsv, line 1: the columns are to be group, labels, text"),
        (HEAD + "a\tnone\n", "lines.tsv, line 2: 3 columns, none of them empty"),
        (HEAD + "a\tnone\tx\nb\t\ty\n", "lines.tsv, line 3: 3 columns"),
        (HEAD + "a\trude\tx\n", "lines.tsv, line 2, labels: rude is none of hate"),
    ],
)
def test_a_fault_names_file_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lines.tsv"
    path.write_text(text)
    with pytest.raises(InvalidInput) as wrong:
        list(labelled.lines(path, ("hate",)))
    assert said in wrong.value.message


def test_a_share_has_an_exact_interval_that_is_never_of_width_zero() -> None:
    assert (Share(0, 0).value, Share(0, 0).low, Share(0, 0).high) == (None, None, None)
    # Clopper-Pearson, 95 %: scipy.stats.binomtest(k, n).proportion_ci("exact").
    assert Share(0, 20).low == 0
    assert Share(0, 20).high == pytest.approx(0.16843, abs=1e-5)
    assert Share(20, 20).low == pytest.approx(0.83157, abs=1e-5)
    assert Share(20, 20).high == 1
    assert Share(7, 20).low == pytest.approx(0.15391, abs=1e-5)
    assert Share(7, 20).high == pytest.approx(0.59219, abs=1e-5)
