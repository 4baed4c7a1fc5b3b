"""One figure for how toxic a text is, whichever categories a classifier has."""

from collections.abc import Mapping

# Of OpenAI's moderation categories those that a reader would call toxic; advice on crimes ("illicit") is another harm.
TOXIC = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "self-harm",
    "sexual",
    "violence",
)


def toxicity(scores: Mapping[str, float]) -> float:
    """0..1: "toxicity" where the classifier has it, else the largest score of those in TOXIC.

    Raises KeyError when the classifier has neither: such a one cannot tell.
    """
    if "toxicity" in scores:
        return scores["toxicity"]
    found = [scores[category] for category in TOXIC if category in scores]
    if not found:
        raise KeyError(f"no toxicity and none of {', '.join(TOXIC)} in {', '.join(sorted(scores))}")
    return max(found)
