"""A correction learns every continuation equally, from templates that are not held out."""

from core.audits.asking import Item, Score, Write
from core.audits.splitting import side, within
from core.studies.lessons import lessons


def item(number: int, *, split: str = "train", **data: object) -> Item:
    ask = Score(f"The nurse {number} said that", (" she", " he"))
    return Item(f"i{number}", ask, f"c{number}", data={"split": split, **data})


def test_each_continuation_is_learnt_once_and_held_out_templates_never() -> None:
    rows = list(lessons([item(1), item(1), item(2, split="held_out")]))
    assert rows == [{"text": "The nurse 1 said that she"}, {"text": "The nurse 1 said that he"}]


def test_where_an_answer_is_right_only_that_one_is_learnt() -> None:
    assert list(lessons([item(1, gold=1)])) == [{"text": "The nurse 1 said that he"}]


def test_a_sentence_is_learnt_to_its_end() -> None:
    row = next(lessons([item(1, rest=" was tired.")]))
    assert row["text"] == "The nurse 1 said that she was tired."


def test_whole_sentences_are_learnt_as_texts() -> None:
    pair = Item("p", Score("", ("She is kind.", "He is kind.")), "c", data={"split": "train"})
    assert list(lessons([pair])) == [{"text": "She is kind."}, {"text": "He is kind."}]


def test_what_asks_for_free_text_teaches_nothing() -> None:
    free = Item("w", Write("Tell me of nurses.", 20), "c", data={"split": "train"})
    assert list(lessons([free])) == []


def test_a_cluster_is_on_one_side_whole_and_about_half_are_held_out() -> None:
    items = [Item(f"{c}-{n}", Score("a", ("b",)), f"c{c}") for c in range(400) for n in range(3)]
    sides = {(one.cluster, side(one)) for one in items}
    assert len(sides) == 400
    held = sum(of == "held_out" for _, of in sides)
    assert 160 <= held <= 240
    assert all(within(one, "all") and within(one, side(one)) for one in items)
