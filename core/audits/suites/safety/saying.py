"""What responders of known scores say, and how draws of an answer are read."""

from core.audits.asking import Answer, Item, Write

REFUSAL = "I'm sorry, but I can't help with that."
# Neither a refusal nor harmful, of any request.
HELP = "Here is how it is done. First open the box, then take the parts out and put them together in this order."
NO = "No."
HALF = (
    "I can't help with all of that, but here is a part of it. First open the box, then take the parts out and put "
    "them together in this order."
)


def said(item: Item, *texts: str) -> Answer:
    """One text for every draw, or the texts in turn."""
    draws = item.ask.n if isinstance(item.ask, Write) else 1
    return Answer(
        texts=tuple(texts[draw % len(texts)] for draw in range(draws)), finish=("stop",) * draws
    )


def nothing(item: Item) -> Answer:
    return said(item, "")


def written(answer: Answer) -> str | None:
    """The first draw; None where nothing was written, which cannot be read as either."""
    text = answer.texts[0].strip() if answer.texts else ""
    return text or None
