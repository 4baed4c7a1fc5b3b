"""docs/training-sizes.md shows what the plans say today, and its bars what their letters mean."""

from bench import training_sizes
from core.training import picture


def test_the_tables_of_the_page_are_true() -> None:
    page = training_sizes.PAGE.read_text()
    assert training_sizes.filled(page) == page, "write it anew: python -m bench.training_sizes"
    for table in training_sizes.tables().values():
        assert table in page


def test_a_bar_is_as_long_as_its_parts() -> None:
    assert picture.bar({"weights": 25, "logits": 25}, 100, 8) == "WWLL...."
    # Parts of under half a letter add up to one.
    assert picture.bar({"weights": 6, "gradients": 6, "logits": 1}, 100, 8) == "G......."
    assert picture.bar({"optimizer": 75, "activations": 75}, 100, 8) == "OOOOOOA>"
    assert picture.bar({"weights": 100}, 100, 4) == "WWWW"
    for letter in picture.LETTERS.values():
        assert f"{letter} " in picture.LEGEND
