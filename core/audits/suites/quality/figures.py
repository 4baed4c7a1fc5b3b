"""lm-eval's length-normalised accuracies, as functions of sums like all measures."""

from core.measures.metric import Metric, share

_SOURCE = "lm-eval 0.4.13, ConfigurableTask.process_results"

NORM = Metric(
    name="accuracy.norm@lm-eval", title="Share of right answers, likelihood per character",
    definition="Right where log likelihood / characters of the choice is highest for the right one (acc_norm).",
    source=_SOURCE, value=share("norm_correct", "choice_items"),
    share=("norm_correct", "choice_items"), better="higher", low=0.0, high=1.0,
)  # fmt: skip
BYTES = Metric(
    name="accuracy.bytes@lm-eval", title="Share of right answers, likelihood per byte",
    definition="Right where log likelihood / UTF-8 bytes of the choice is highest for the right one (acc_bytes).",
    source=_SOURCE, value=share("bytes_correct", "choice_items"),
    share=("bytes_correct", "choice_items"), better="higher", low=0.0, high=1.0,
)  # fmt: skip
BRIER = Metric(
    name="calibration.brier_all@brier1950", title="Brier score over all choices",
    definition="Mean over items of the sum over choices of (probability - 1 if right, 0 if wrong)^2; 0 to 2.",
    source="Brier 1950, in its first form", value=share("brier_all", "items"),
    better="lower", low=0.0, high=2.0,
)  # fmt: skip
