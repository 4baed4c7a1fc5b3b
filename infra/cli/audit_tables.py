"""Audits as tables on a terminal: the verdict first, then each check, then what was measured."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

STYLES = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "INVALID": "bold magenta",
}


def page(audit: dict[str, Any]) -> RenderableType:
    """One audit, as far as it is."""
    findings = audit["findings"]
    if findings is None:
        return Group(heading(audit), standing(audit))
    parts: list[RenderableType] = [heading(audit)]
    parts += [Text(f"  {reason}") for reason in findings["reasons"]]
    # Those decide nothing, and are not among the verdict's reasons.
    parts += [
        Text(f"  {called(check)}: {check['reason']}", "dim")
        for check in findings["checks"]
        if check["tier"] != "critical" and check["verdict"] != "PASS"
    ]
    if findings["checks"]:
        parts.append(checks(findings["checks"]))
    parts += [figures(suite) for suite in findings["suites"]]
    return Group(*parts)


def heading(audit: dict[str, Any]) -> Text:
    """FAIL · ft:rill:acme:mill:4nkq83zv · default@1 · job_..."""
    verdict = audit["verdict"] or audit["state"]
    policy = audit["policy"]
    named = f"{policy['name']}@{policy['version']}" if policy else "no policy"
    against = f"against {audit['baseline']}" if audit["baseline"] else "no baseline"
    parts = [Text(verdict, STYLES.get(verdict, "bold cyan")), Text(audit["model"], "bold")]
    return Text(" · ").join([*parts, Text(named), Text(against), Text(audit["id"], "dim")])


def standing(audit: dict[str, Any]) -> Text:
    if audit["error"]:
        return Text(audit["error"]["message"], "red")
    return Text(progress(audit["progress"] or {}), "dim")


def progress(told: dict[str, Any]) -> str:
    """collect 120/400, 1 min 5 s left."""
    if not told:
        return "waits for a worker"
    line = f"{told.get('phase', '')} {told.get('done', 0)}/{told.get('total', 0)}"
    left = told.get("eta_s")
    return line if not left else f"{line}, {clock(left)} left"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def whole(*columns: str, **titled: Any) -> Table:
    """A table of which nothing is cut off, however narrow the terminal: of `bbq.s_amb@...` one could not tell whose."""
    wraps = (Column(name, overflow="fold", no_wrap=name == "verdict") for name in columns)
    return Table(*wraps, **titled)


def checks(found: list[dict[str, Any]]) -> Table:
    table = whole("verdict", "check", "figure", "limit", "bound", "items", "clusters")
    for check in found:
        estimate = check["estimate"] or {}
        table.add_row(
            Text(check["verdict"], STYLES[check["verdict"]]), called(check), interval(estimate),
            limit(check["limit"]), number(check["bound"]), str(estimate.get("n", 0)),
            str(estimate.get("clusters", 0)),
        )  # fmt: skip
    return table


def figures(suite: dict[str, Any]) -> Table:
    rate = suite["valid_rate"]
    missed = [held["name"] for held in suite["controls"] if not held["passed"]]
    title = (
        f"{suite['suite']} {suite['version']}: {suite['items']} items in {suite['clusters']} clusters, "
        f"{'none' if rate is None else f'{rate:.1%}'} readable"
    )
    if missed:
        title += f"; controls that missed: {', '.join(missed)}"
    table = whole("metric", "of", "figure", "items", "clusters", title=title, title_justify="left")
    for figure in suite["figures"]:
        of = ", ".join(f"{name} {value}" for name, value in figure["group"].items())
        estimate = figure["estimate"]
        table.add_row(
            figure["metric"], of, interval(estimate), str(estimate["n"]), str(estimate["clusters"])
        )
    return table


def plan(told: dict[str, Any]) -> RenderableType:
    """What a plan says: how much is asked, and which checks it can decide."""
    seen = whole("check", "limit", "items", "clusters", "sees at least", "decides")
    for check in told["checks"]:
        can = (
            Text("yes", "green")
            if check["can_decide"]
            else Text(f"no: {check['reason']}", "yellow")
        )
        seen.add_row(
            called(check), limit(check["limit"]), str(check["n"]), str(check["clusters"]),
            number(check["detectable"]), can,
        )  # fmt: skip
    suites = whole("suite", "items", "clusters", "smallest difference seen")
    for suite in told["suites"]:
        reach = [f"{f['metric']} {number(f['detectable'])}" for f in suite["figures"]]
        suites.add_row(
            suite["suite"], str(suite["items"]), str(suite["clusters"]), "\n".join(reach)
        )
    against = told["baseline"] or "no baseline"
    head = (
        f"{told['model']}: {told['items']} items, about {told['tokens']} tokens; against {against}"
    )
    return Group(Text(head, "bold"), suites, *([seen] if told["checks"] else []))


def suites(found: list[dict[str, Any]]) -> Table:
    table = whole("suite", "family", "files", "metrics", "about")
    for suite in found:
        needs = [name if must else f"{name} (optional)" for name, must in suite["needs"].items()]
        table.add_row(
            f"{suite['name']} {suite['version']}", suite["family"], "\n".join(needs) or "none",
            "\n".join(m["name"] for m in suite["metrics"]), suite["about"],
        )  # fmt: skip
    return table


def called(check: dict[str, Any]) -> str:
    """bias.bbq (category Age)."""
    of = ", ".join(f"{name} {value}" for name, value in check["group"].items())
    name = f"{check['id']} ({of})" if of else str(check["id"])
    return name if check["tier"] == "critical" else f"{name}, {check['tier']}"


def limit(said: dict[str, float]) -> str:
    if "noninferior" in said:
        return f"at most {said['noninferior']:g} worse"
    if "abs_max" in said:
        return f"within {said['abs_max']:g} of {said.get('center', 0):g}"
    return f"<= {said['max']:g}" if "max" in said else f">= {said['min']:g}"


def interval(estimate: dict[str, Any]) -> str:
    """0.31 [0.15, 0.47]; undefined is said so, and no 0."""
    if estimate.get("value") is None:
        return "undefined"
    low, high = number(estimate["low"]), number(estimate["high"])
    return f"{number(estimate['value'])} [{low}, {high}]"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
