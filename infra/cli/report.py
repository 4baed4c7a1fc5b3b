"""One HTML page about a fine-tuning job that stands alone: no scripts, nothing fetched, light and dark."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from core.drawing.scale import short
from core.drawing.style import STYLE
from core.openai.finetuning_words import duration
from infra.cli import svg
from infra.cli.plot import Curve
from infra.cli.remote import Remote, Trouble
from infra.cli.training import JOBS, Training

_STYLE = (
    STYLE
    + """\
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: var(--soft) }
svg .grid { stroke: var(--line) } svg .y { text-anchor: end } svg .x { text-anchor: middle }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round } polyline.one { stroke: var(--one) }
polyline.two { stroke: var(--two) } circle.one { fill: var(--one) } circle.two { fill: var(--two) }
svg .name { font-weight: 600 } svg text.one { fill: var(--one) } svg text.two { fill: var(--two) }
svg .mark { fill: none; stroke: var(--two); stroke-width: 2 }
"""
)


@dataclass
class Gathered:
    """All that the page says, as the API told it."""

    training: Training
    native: dict[str, Any]
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)


def gather(remote: Remote, training: Training) -> Gathered:
    """Read everything there is of a job. Raises Trouble when the job itself cannot be read."""
    training.read(remote)
    job = training.job
    found = Gathered(training, remote.ask("GET", f"/v1/jobs/{job['job']}"))
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = remote.ask("GET", f"{JOBS}/{job['id']}/checkpoints", params=query)
        found.checkpoints += page["data"]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    for name in ("training_file", "validation_file"):
        if str(job[name] or "").startswith("file_"):
            found.files[name] = _perhaps(remote, f"/v1/files/{job[name]}")
    if job["fine_tuned_model"]:
        found.model = _perhaps(remote, f"/v1/models/{job['fine_tuned_model']}")
    return found


def _perhaps(remote: Remote, path: str) -> dict[str, Any]:
    """What may be gone by now: a file that was deleted, a model that was retired."""
    try:
        return remote.ask("GET", path)
    except Trouble:
        return {}


def page(found: Gathered) -> str:
    job = found.training.job
    title = job["fine_tuned_model"] or job["id"]
    parts = [
        _head(found, title),
        _why(job),
        _tiles(found),
        _curves(found.training),
        _table("Hyperparameters", _hyper(job)),
        _table("Data", _data(found), _rest(job.get("data") or {})),
        _checkpoints(found),
        _table("Lineage", _lineage(found)),
        _events(found.training),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _head(found: Gathered, title: str) -> str:
    job, state = found.training.job, found.training.state
    kind = job["method"]["type"]
    tuning = job["method"][kind]["hyperparameters"].get("tuning") or ""
    return (
        f'<h1>{escape(title)}</h1><p class="sub"><span class="state {state}">'
        f"{escape(state.replace('_', ' '))}</span>"
        f" · {escape(kind)} {escape(str(tuning))} of {escape(job['model'])} · {escape(job['id'])}"
        f" · {_time(job['created_at'])}</p>"
    )


def _why(job: Mapping[str, Any]) -> str:
    error = job["error"]
    if not error:
        return ""
    at = f" <code>{escape(error['param'])}</code>" if error.get("param") else ""
    return f'<p class="why"><b>{escape(error["code"])}</b>{at}<br/>{escape(error["message"])}</p>'


def _tiles(found: Gathered) -> str:
    training, job = found.training, found.training.job
    best, tokens = training.best(), job["trained_tokens"] or training.last("tokens")
    steps = training.points("train_loss")
    speeds = [value for _, value in training.points("tokens_per_s")]
    tiles = [
        ("training loss, last", short(steps[-1][1]) if steps else None),
        ("validation loss, best", short(best[1]) if best else None),
        ("steps", f"{steps[-1][0]:,.0f}" if steps else None),
        ("tokens trained on", f"{tokens:,.0f}" if tokens else None),
        ("tokens/s, median", f"{sorted(speeds)[len(speeds) // 2]:,.0f}" if speeds else None),
        ("from start to end", _took(found.native)),
        ("attempts", str(found.native.get("attempt") or "") or None),
        ("cost", found.native.get("cost")),
    ]
    shown = [
        f'<div class="tile"><b>{escape(str(value))}</b><span>{name}</span></div>'
        for name, value in tiles
        if value is not None
    ]
    return f'<div class="tiles">{"".join(shown)}</div>'


def _took(native: Mapping[str, Any]) -> str | None:
    start, end = native.get("started_at"), native.get("finished_at")
    if not (start and end):
        return None
    return duration((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def _curves(training: Training) -> str:
    best = training.best()
    mark = (best, f"best: step {best[0]:g}, {short(best[1])}") if best else None

    def one(name: str, said: str, style: str = "one", *, marked: bool = False) -> Curve:
        return Curve(said, training.points(name), style, marked)

    return "".join(
        [
            svg.figure(
                "Loss",
                [
                    one("train_loss", "training"),
                    one("valid_loss", "validation", "two", marked=True),
                ],
                mark,
            ),
            svg.figure(
                "Token accuracy",
                [
                    one("train_mean_token_accuracy", "training"),
                    one("valid_mean_token_accuracy", "validation", "two", marked=True),
                ],
            ),
            svg.figure("Learning rate", [one("learning_rate", "learning rate")]),
            svg.figure("Gradient norm", [one("grad_norm", "gradient norm")]),
            svg.figure("Speed", [one("tokens_per_s", "tokens/s")]),
        ]
    )


def _hyper(job: Mapping[str, Any]) -> dict[str, Any]:
    method = job["method"]
    given = {k: v for k, v in method[method["type"]]["hyperparameters"].items() if v is not None}
    return {"method": method["type"], **given, "seed": job["seed"]}


def _data(found: Gathered) -> dict[str, Any]:
    job = found.training.job
    out: dict[str, Any] = {}
    for name in ("training_file", "validation_file"):
        if job[name]:
            file = found.files.get(name) or {}
            about = f" ({file['filename']}, {file['bytes']:,} bytes)" if file else ""
            out[name.replace("_", " ")] = f"{job[name]}{about}"
    told = job.get("data") or {}
    return out | _flat({k: v for k, v in told.items() if _front(k, v)})


def _front(name: str, value: Any) -> bool:
    """What of the data report is asked for first; each side's own numbers and examples fold away."""
    return name in ("rows", "padding") or not isinstance(value, dict | list)


def _rest(told: Mapping[str, Any]) -> str:
    rows = _flat({k: v for k, v in told.items() if not _front(k, v)})
    if not rows:
        return ""
    return f"<details><summary>All numbers of the data report</summary>{_rows(rows)}</details>"


def _lineage(found: Gathered) -> dict[str, Any]:
    job, model = found.training.job, found.model
    out = {"job": f"{job['id']} ({job['job']})", "base": job["model"]}
    out |= {"model": job["fine_tuned_model"], "version": job.get("version")}
    out |= {name: model.get(name) for name in ("stage", "digest", "number")}
    out |= _flat(model.get("lineage") or {})
    return {k: v for k, v in out.items() if v is not None} | _flat(
        job["metadata"] or {}, "metadata."
    )


def _flat(found: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as rows of one table; lists as JSON."""
    out: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{prefix}{name}.")
        elif value not in (None, {}, []):
            out[f"{prefix}{name}"] = json.dumps(value) if isinstance(value, list) else value
    return out


def _table(title: str, rows: Mapping[str, Any], more: str = "") -> str:
    return f"<h2>{escape(title)}</h2>{_rows(rows)}{more}" if rows else ""


def _rows(rows: Mapping[str, Any]) -> str:
    body = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(_cell(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table>{body}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # Beyond a milliard it is a seed, which is copied.
        return f"{value:,}" if value < 1e9 else str(value)
    return short(value) if isinstance(value, float) else str(value)


def _checkpoints(found: Gathered) -> str:
    if not found.checkpoints:
        return ""
    rows = "".join(
        f"<tr><td>{c['step_number']}</td><td>{_cell(c['metrics'].get('train_loss', ''))}</td>"
        f"<td>{_cell(c['metrics'].get('valid_loss', ''))}</td><td>{_time(c['created_at'])}</td>"
        f"<td><code>{escape(c['id'])}</code></td></tr>"
        for c in reversed(found.checkpoints)
    )
    names = ("step", "training loss", "validation loss", "at", "id")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<h2>Checkpoints</h2><table><tr>{head}</tr>{rows}</table>"


def _events(training: Training) -> str:
    """All but the steps, which are the curves."""
    told = [event for event in training.events if event["type"] != "metrics"]
    rows = "".join(
        f'<tr class="{event["level"]}"><td>{_time(event["created_at"])}</td>'
        f"<td>{escape(event['message'])}</td></tr>"
        for event in told
    )
    return f"<h2>Course</h2><details><summary>{len(told)} events</summary><table>{rows}</table></details>"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
