"""Rows become batches that keep documents apart, in an order that only the seed decides."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import lessons
from workers.trainer import data
from workers.trainer.collate import IGNORED, Collator
from workers.trainer.data import Order


@pytest.fixture(scope="module")
def net() -> Any:
    return AutoModelForCausalLM.from_pretrained(str(lessons.RILL), dtype=torch.float32)


def row(*sizes: int, first: int = 10) -> dict[str, Any]:
    length = sum(sizes)
    ids = [first + (7 * n) % 4000 for n in range(length)]
    return {"input_ids": ids, "loss": [1] * length, "segments": list(sizes)}


def test_a_packed_document_is_read_as_if_it_were_alone(net: Any) -> None:
    rows = [row(9, 17, 5), row(12, 3)]
    batch = Collator(pad=2, packed=True)(rows)
    with torch.no_grad():
        together = net(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits
        for at, packed in enumerate(rows):
            start = 0
            for size in packed["segments"]:
                ids = torch.tensor([packed["input_ids"][start : start + size]])
                alone = net(input_ids=ids, use_cache=False).logits[0]
                # The last bits differ with the shape of a matrix product.
                torch.testing.assert_close(
                    together[at, start : start + size], alone, atol=2e-4, rtol=1e-4
                )
                start += size
        # The test can fail: without the positions a document sees the one before.
        blind = net(input_ids=batch["input_ids"], use_cache=False).logits
    assert (blind[0, 9:26] - together[0, 9:26]).abs().max() > 0.1


def test_the_loss_of_packed_documents_is_that_of_each_alone(net: Any) -> None:
    documents = [row(9), row(17, first=300), row(5, first=900)]
    joined = {
        "input_ids": [i for d in documents for i in d["input_ids"]],
        "loss": [1] * 31,
        "segments": [9, 17, 5],
    }
    losses = []
    for rows, packed in (([joined], True), (documents, False)):
        batch = Collator(pad=2, packed=packed)(rows)
        batch.pop("sizes")
        with torch.no_grad():
            losses.append(net(**batch, use_cache=False).loss)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)


def test_no_document_is_asked_for_the_start_of_the_next() -> None:
    batch = Collator(pad=2, packed=True)([row(3, 2), row(2)])
    ids = batch["input_ids"][0].tolist()
    assert batch["labels"].tolist() == [
        [IGNORED, ids[1], ids[2], IGNORED, ids[4]],
        [IGNORED, batch["input_ids"][1, 1], IGNORED, IGNORED, IGNORED],
    ]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]]
    assert batch["sizes"].tolist() == [5, 2]


def test_only_what_is_to_be_learned_has_a_label() -> None:
    one = row(4)
    one["loss"] = [0, 0, 1, 1]
    batch = Collator(pad=2, packed=False)([one, row(5)])
    ids = one["input_ids"]
    assert batch["labels"][0].tolist() == [IGNORED, IGNORED, ids[2], ids[3], IGNORED]
    assert batch["input_ids"][0].tolist() == [*ids, 2]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1] * 5]


def test_the_order_is_the_seeds_and_the_epochs_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        made = Order(101, seed, 8, sizes=[n % 13 for n in range(101)])
        made.set_epoch(epoch)
        return list(made)

    torch.manual_seed(1)
    first = order(7, 0)
    torch.manual_seed(2)
    assert order(7, 0) == first
    assert sorted(first) == list(range(101))
    assert len({tuple(order(seed, epoch)) for seed in (7, 8) for epoch in (0, 1)}) == 4


def test_rows_of_like_length_share_a_batch() -> None:
    sizes = [(n * 37) % 200 for n in range(400)]
    order = list(Order(400, 7, 8, sizes))
    batches = [[sizes[i] for i in order[at : at + 8]] for at in range(0, 400, 8)]
    padded = sum(max(one) * 8 for one in batches)
    plain = list(Order(400, 7, 8))
    naive = sum(max(sizes[i] for i in plain[at : at + 8]) * 8 for at in range(0, 400, 8))
    assert padded < 1.1 * sum(sizes)
    assert naive > 1.5 * sum(sizes)
    # And not in the order of their length.
    means = [sum(one) for one in batches]
    assert means != sorted(means)


def test_a_split_says_what_it_holds(tmp_path: Path) -> None:
    lessons.supervised(tmp_path, rows=4, validation=0, packed=True)
    train = data.rows(tmp_path / "train")
    assert train is not None
    assert data.packed(train)
    assert data.lengths(train, ("input_ids",)) == [len(r["input_ids"]) for r in train]
    assert data.rows(tmp_path / "validation") is None
