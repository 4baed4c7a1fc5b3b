"""The quality suites."""

from core.audits.suite import Suite
from core.audits.suites.quality.accuracy import ACCURACY
from core.audits.suites.quality.calibration import CALIBRATION
from core.audits.suites.quality.consistency import CONSISTENCY
from core.audits.suites.quality.perplexity import PERPLEXITY

QUALITY: tuple[Suite, ...] = (PERPLEXITY, ACCURACY, CONSISTENCY, CALIBRATION)
