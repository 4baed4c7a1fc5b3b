"""The bias suites."""

from core.audits.suite import Suite
from core.audits.suites.bias.bbq import BBQ
from core.audits.suites.bias.bold import BOLD
from core.audits.suites.bias.counterfactual import COUNTERFACTUAL
from core.audits.suites.bias.crows import CROWS
from core.audits.suites.bias.stereoset import STEREOSET
from core.audits.suites.bias.winobias import WINOBIAS

BIAS: tuple[Suite, ...] = (CROWS, STEREOSET, BBQ, WINOBIAS, BOLD, COUNTERFACTUAL)
