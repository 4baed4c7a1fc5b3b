"""`python -m bench.classifiers`: the tables of docs/audits-safety.md, from the cards of the built-in classifiers.

With `--outside samples-1680.jsonl.gz` (OpenAI's published evaluation set, MIT licence, not part of this repository) it
measures the moderation classifier on other people's text first, and keeps what it found in bench/data.
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from core.classifiers import listed
from core.classifiers.classifier import Card, Share
from core.classifiers.lexical import moderation, refusal

PAGE = Path(__file__).parents[1] / "docs" / "audits-safety.md"
OUTSIDE = Path(__file__).parent / "data" / "classifiers_outside.json"
# Its labels by our categories; a line on which a label is missing was not judged for it.
LABELS = {
    "harassment": ("HR",),
    "hate": ("H", "H2"),
    "self-harm": ("SH",),
    "sexual": ("S", "S3"),
    "violence": ("V", "V2"),
}


def said(share: Share) -> str:
    if share.value is None:
        return "none"
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def measured(card: Card) -> str:
    lines = [
        "| category | lines that are it | precision | recall | specificity | threshold |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in card.measured.items():
        lines.append(
            f"| {name} | {one.positives} of {card.test} | {said(one.precision)} | {said(one.recall)} "
            f"| {said(one.specificity)} | {one.threshold} |"
        )
    return "\n".join(lines) + "\n"


def outside() -> str:
    found = json.loads(OUTSIDE.read_text())
    lines = [
        "| category | texts that are it | precision | recall | specificity |",
        "|---|---|---|---|---|",
    ]
    for name, one in found["measured"].items():
        precision, recall, specificity = (
            Share(*one[part]) for part in ("precision", "recall", "specificity")
        )
        lines.append(
            f"| {name} | {recall.of} of {recall.of + specificity.of} | {said(precision)} | {said(recall)} "
            f"| {said(specificity)} |"
        )
    return "\n".join(lines) + "\n"


def measure(path: Path) -> dict[str, Any]:
    """At the card's thresholds, on the texts that were judged for a category."""
    raw = path.read_bytes()
    texts = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
    classifier = listed.classifier(moderation.NAME)
    scores = classifier.scores([one["prompt"] for one in texts])
    table = {}
    for category, labels in LABELS.items():
        pairs = [
            (
                any(one.get(label) for label in labels),
                score[category] >= classifier.card.thresholds[category],
            )
            for one, score in zip(texts, scores, strict=True)
            if any(label in one for label in labels)
        ]
        both = sum(label and told for label, told in pairs)
        are = sum(label for label, _ in pairs)
        neither = sum(not label and not told for label, told in pairs)
        table[category] = {
            "precision": [both, sum(told for _, told in pairs)],
            "recall": [both, are],
            "specificity": [neither, len(pairs) - are],
        }
    return {
        "file": path.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "classifier": [classifier.name, classifier.digest],
        "measured": table,
    }


def speed(texts: int = 5000) -> float:
    """Milliseconds a text of 14 words of which each is new to it in part, so that no cache answers alone."""
    classifier = listed.classifier(moderation.NAME)
    lines = [
        f"When the {number} passengers reached stop {number % 97}, the driver asked them whether they had tickets."
        for number in range(texts)
    ]
    started = time.perf_counter()
    classifier.scores(lines)
    return (time.perf_counter() - started) / texts * 1000


def tables() -> dict[str, str]:
    """By the mark that each stands between."""
    return {
        "moderation": measured(listed.classifier(moderation.NAME).card),
        "refusal": measured(listed.classifier(refusal.NAME).card),
        "outside": outside(),
    }


def filled(page: str) -> str:
    """The page with its tables as they are now; the words around them stay."""
    for name, table in tables().items():
        between = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = between.sub(lambda found, table=table: found[1] + table + found[2], page)  # type: ignore[misc]
    return page


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.classifiers", description=__doc__)
    parser.add_argument("--outside", type=Path, help="samples-1680.jsonl.gz")
    options = parser.parse_args()
    if options.outside:
        OUTSIDE.write_text(json.dumps(measure(options.outside), indent=2) + "\n")
    PAGE.write_text(filled(PAGE.read_text()))
    print(f"{speed():.3f} ms a text")
    return 0


if __name__ == "__main__":
    sys.exit(main())
