"""The process in which lm-eval runs: reads one JSON message a line, answers each with one, ends with its input.

Messages: {"load": {...}} makes the tasks, {"score": {...}} has lm-eval's own filters and process_results score what a
model answered to one document. A reply is {"ok": ...} or {"wrong": words for whoever asked}. Replies leave by the file
descriptor that is the first argument: what lm-eval prints is not for the one who reads them.
"""

import json
import logging
import math
import os
import resource
import sys
from typing import Any

from core.audits.suites.own.lm_eval import tasks
from core.audits.suites.own.lm_eval.uploaded import Wrong

# What a task may take of this host's memory: a template can multiply a text without end.
_MEMORY = 8 << 30


def main(replies: int) -> None:
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    loaded: list[tasks.Loaded] = []
    with os.fdopen(replies, "w", encoding="utf-8") as out:
        for line in sys.stdin:
            out.write(json.dumps(_finite(_answered(json.loads(line), loaded))) + "\n")
            out.flush()


def _answered(message: dict[str, Any], loaded: list[tasks.Loaded]) -> dict[str, Any]:
    try:
        if "load" in message:
            loaded[:] = [tasks.load(**message["load"])]
            return {"ok": loaded[0].told()}
        return {"ok": loaded[0].scored(**message["score"])}
    except Wrong as error:
        return {"wrong": str(error)}
    except Exception as error:
        return {"wrong": f"{type(error).__name__}: {error}"[:1000]}


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: what is undefined is null."""
    match value:
        case dict():
            return {key: _finite(one) for key, one in value.items()}
        case list() | tuple():
            return [_finite(one) for one in value]
        case float() if not math.isfinite(value):
            return None
    return value


if __name__ == "__main__":
    main(int(sys.argv[1]))
