"""Our own small packs, in the published formats: what a suite asks when no file is given."""

from collections.abc import Collection, Mapping
from pathlib import Path

from core.audits.suite import Files
from core.audits.suites import packs

PACKS = Path(__file__).parent / "packs"


def given(files: Files, known: Collection[str], pack: Mapping[str, str]) -> Files:
    """The uploaded files, or those of `pack`. Raises InvalidInput for a name that the suite does not have."""
    return packs.given(files, known, {name: PACKS / file for name, file in pack.items()})
