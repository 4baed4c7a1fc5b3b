"""Writes the three splits of the ticket task: python examples/data/write_tickets.py [FOLDER].

A customer's message goes in, `<team> <order number, or none>` comes out. The same seed writes the same bytes.
"""

import json
import sys
from pathlib import Path
from random import Random

from ticket_phrases import TEST, TOPICS, TRAINING, Phrases

SEED = 7
# Validation has the sentences of training in other rows; the test has sentences of its own.
ROWS = {"train": 1000, "validation": 60, "test": 180}
HERE = Path(__file__).parent / "tickets"
# How often a message names its order, and how often that is the first thing it says.
NAMED, FIRST = 0.75, 0.3


def main(folder: Path = HERE) -> None:
    rng = Random(SEED)  # noqa: S311 - text, not secrets
    folder.mkdir(parents=True, exist_ok=True)
    known = rows(rng, TRAINING, ROWS["train"] + ROWS["validation"])
    write(folder / "train.jsonl", known[: ROWS["train"]])
    write(folder / "validation.jsonl", known[ROWS["train"] :])
    write(folder / "test.jsonl", rows(rng, TEST, ROWS["test"]))


def rows(rng: Random, phrases: Phrases, count: int) -> list[tuple[str, str]]:
    """As many of each team, no message twice, shuffled."""
    teams, found = list(TOPICS), dict[str, str]()
    while len(found) < count:
        team = teams[len(found) % len(teams)]
        text, order = message(rng, phrases, team)
        found.setdefault(text, f"{team} {order}")
    shuffled = list(found.items())
    rng.shuffle(shuffled)
    return shuffled


def message(rng: Random, phrases: Phrases, team: str) -> tuple[str, str]:
    """What the customer writes, and the number of the order or "none"."""
    order = f"#{rng.randint(1000, 9999)}" if rng.random() < NAMED else "none"
    request, aside = rng.choice(phrases.requests), rng.choice(phrases.asides)
    said = rng.choice(phrases.orders) if order != "none" else ""
    middle = [request, *rng.sample([said, aside], 2)]
    if rng.random() < FIRST:
        middle = [said, request, aside]
    parts = [rng.choice(phrases.greetings), *middle, rng.choice(phrases.endings)]
    text = " ".join(filter(None, parts))
    return filled(rng, chosen(rng, text), phrases, team, order), order


def chosen(rng: Random, text: str) -> str:
    """`(this|that)` becomes one of the two; brackets without a choice stay."""
    head, bracket, tail = text.partition("(")
    if not bracket:
        return head
    inner, _, rest = tail.partition(")")
    word = rng.choice(inner.split("|")) if "|" in inner else f"({inner})"
    return head + word + chosen(rng, rest)


def filled(rng: Random, text: str, phrases: Phrases, team: str, order: str) -> str:
    return text.format(
        topic=rng.choice(TOPICS[team]),
        product=rng.choice(phrases.products),
        name=rng.choice(phrases.names),
        order=order,
        amount=rng.randint(11, 399),
        few=rng.randint(2, 9),
        day=rng.randint(1, 31),
    )


def write(path: Path, pairs: list[tuple[str, str]]) -> None:
    lines = [
        {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]}
        for said, answer in pairs
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
