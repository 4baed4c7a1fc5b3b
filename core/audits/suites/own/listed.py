"""Suites that users bring: of an uploaded file, and of lm-eval's tasks."""

from core.audits.suite import Suite
from core.audits.suites.own.lm_eval.suite import LM_EVAL
from core.audits.suites.own.suite import OWN_FILE

OWN: tuple[Suite, ...] = (OWN_FILE, LM_EVAL)
