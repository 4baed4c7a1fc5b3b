"""Which tool has written an uploaded file, told by what it holds."""

from pathlib import Path

from core.audits.suites.own.imported import garak, lm_eval
from core.audits.suites.own.imported.evidence import Evidence, records
from core.errors import InvalidInput

# A results file is one JSON document, read whole.
_LARGEST = 64 << 20


def evidence(path: Path, *, name: str) -> Evidence:
    """Of lm-eval's samples or results, or garak's report. Raises InvalidInput naming file, line and field."""
    if path.stat().st_size <= _LARGEST and (whole := lm_eval.whole(path)) is not None:
        return lm_eval.results(name, path, whole)
    first = next(records(name, path), None)
    if first is not None and "entry_type" in first[1]:
        return garak.read(name, path)
    if first is not None and "doc_id" in first[1]:
        return lm_eval.samples(name, path)
    raise InvalidInput(
        f"imports: {name!r} is none of lm-eval's results_*.json, its samples_*.jsonl and garak's report.jsonl",
        param="imports",
    )
