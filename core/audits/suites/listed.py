"""All suites there are, by name."""

from core.audits.suite import Suite
from core.audits.suites.bias.listed import BIAS
from core.audits.suites.graded.listed import GRADED
from core.audits.suites.own.listed import OWN
from core.audits.suites.quality.listed import QUALITY
from core.audits.suites.safety.listed import SAFETY
from core.errors import InvalidInput

SUITES: dict[str, Suite] = {
    suite.name: suite for suite in (*BIAS, *SAFETY, *QUALITY, *OWN, *GRADED)
}


def find(name: str, *, param: str = "suite") -> Suite:
    """Raises InvalidInput listing what there is."""
    if (found := SUITES.get(name)) is None:
        raise InvalidInput(
            f"There is no suite {name[:64]!r}. Suites: {', '.join(sorted(SUITES))}.", param=param
        )
    return found


def of_metric(name: str) -> Suite | None:
    """The suite that has this metric."""
    return next((s for s in SUITES.values() if any(m.name == name for m in s.metrics)), None)
