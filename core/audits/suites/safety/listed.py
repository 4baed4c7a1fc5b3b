"""The safety suites, in the order that a report shows them."""

from core.audits.suite import Suite
from core.audits.suites.safety.injection import INJECTION
from core.audits.suites.safety.leaks import LEAKS
from core.audits.suites.safety.refusals import REFUSALS
from core.audits.suites.safety.toxicity import TOXICITY

SAFETY: tuple[Suite, ...] = (REFUSALS, INJECTION, LEAKS, TOXICITY)
