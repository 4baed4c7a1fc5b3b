"""A ZIP of an export, written a page of answers at a time: an audit of any size needs the memory of one page."""

import hashlib
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from typing import IO, Literal

import orjson

from core.audits.exports import inspect_log, lm_eval_files
from core.audits.exports.exported import Answered, Exported

Format = Literal["inspect", "lm-eval"]
Pages = Callable[[str], AsyncIterator[Sequence[Answered]]]


async def write(out: IO[bytes], audit: Exported, format_: Format, pages: Pages) -> None:
    """`pages(suite)`: the model's answers in their order."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if format_ == "inspect":
            await _inspect(archive, audit, pages)
        else:
            await _lm_eval(archive, audit, pages)


async def _inspect(archive: zipfile.ZipFile, audit: Exported, pages: Pages) -> None:
    for one in audit.suites:
        suite = one["name"]
        # Inspect lists logs by <time>_<task>_<id>.
        name = f"{lm_eval_files.stamp(audit.created)}_{suite}_{audit.id}.json"
        head = orjson.dumps(inspect_log.log(audit, suite), option=orjson.OPT_NON_STR_KEYS)
        with archive.open(name, "w", force_zip64=True) as entry:
            entry.write(head[:-1] + b',"samples":[')
            first = True
            async for page in pages(suite):
                for answered in page:
                    entry.write(b"" if first else b",")
                    entry.write(orjson.dumps(inspect_log.sample(audit, suite, answered)))
                    first = False
            entry.write(b"]}")


async def _lm_eval(archive: zipfile.ZipFile, audit: Exported, pages: Pages) -> None:
    when, hashes = lm_eval_files.stamp(audit.created), {}
    for one in audit.suites:
        suite, told = one["name"], hashlib.sha256()
        name = f"samples_{lm_eval_files.task(suite)}_{when}.jsonl"
        with archive.open(name, "w", force_zip64=True) as entry:
            async for page in pages(suite):
                for answered in page:
                    line = lm_eval_files.sample(answered)
                    told.update(
                        (line["doc_hash"] + line["prompt_hash"] + line["target_hash"]).encode()
                    )
                    entry.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        hashes[suite] = told.hexdigest()
    found = orjson.dumps(lm_eval_files.results(audit, hashes), option=orjson.OPT_INDENT_2)
    archive.writestr(f"results_{when}.json", found)
