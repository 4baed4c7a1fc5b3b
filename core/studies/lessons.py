"""What a model is to learn from the templates of a bias audit: every group, every continuation, equally often.

Counterfactual data augmentation (Zmigrod et al. 2019; Lu et al. 2020): the templates' counterfactuals are all there
already, so that no group stands beside one continuation more often than another does.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from core.audits.asking import Item, Score
from core.audits.splitting import side

# Of Item.data. The number of the continuation that is right, where one is; and how the sentence goes on behind it,
# without which a model would learn to stop there.
GOLD, REST = "gold", "rest"


def lessons(items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    """Rows for a fine-tune, {"text"}, of the items that are not held out; none twice.

    Plain texts, as the audit asks: a prompt with its completion would be learnt inside a model's chat template.

    An item without a right answer teaches all its continuations; one with it teaches that one. What asks for free text
    teaches nothing: nobody knows what should have been written.
    """
    known: set[str] = set()
    for item in items:
        if not isinstance(item.ask, Score) or side(item) != "train":
            continue
        for context, continuation in _taught(item, item.ask):
            whole = continuation + str(item.data.get(REST, ""))
            if (said := context + whole) not in known:
                known.add(said)
                yield {"text": said}


def _taught(item: Item, ask: Score) -> tuple[tuple[str, str], ...]:
    gold = item.data.get(GOLD)
    return ask.pairs if gold is None else (ask.pairs[gold],)
