"""Figure 13: what a guard costs: output tokens a second and first tokens beside none, on the same engine in turns."""

import statistics
from typing import Any

from bench.engine import Peer
from bench.figure import Figure, ratio, spread
from bench.prompts import prompts
from tests.rig import Rig

# Of the tokens a second without a guard; milliseconds of the first token.
OF_PLAIN, FIRST_MS = 0.97, 5.0
ROUNDS, JOBS, TOKENS = 10, 64, 100
ALONE = 8
MODES = ("off", "observe", "enforce")


def measure(rig: Rig) -> Figure:
    """`rig` gives the environment; its processes stay off."""
    env = rig.environment | {
        "PENSTOCK_ENGINE_MAX_SEQUENCES": str(JOBS), "PENSTOCK_ENGINE_DTYPE": "float32",
    }  # fmt: skip
    peer = Peer("bench.guard_alone", env)
    speed: dict[str, list[float]] = {mode: [] for mode in MODES}
    first: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(ROUNDS + 1):
        # Each mode is first, second and last in turn.
        for mode in MODES[number % 3 :] + MODES[: number % 3]:
            many = _asked(peer, mode, number, JOBS)
            one = [_asked(peer, mode, f"{number}.{i}", 1, max_tokens=12) for i in range(ALONE)]
            if number:
                speed[mode].append(many["tokens"] / many["seconds"])
                first[mode].append(statistics.median(1000 * a["first_s"][0] for a in one))
        print(f"  {number}: { ({m: round(v[-1]) for m, v in speed.items() if v}) }", flush=True)
    walked = {mode: _walked(peer, mode) for mode in MODES}
    peer.end()
    return _figure(speed, first, walked)


def _asked(peer: Peer, mode: str, mark: Any, jobs: int, max_tokens: int = TOKENS) -> dict[str, Any]:
    return peer.ask(
        {"mode": mode, "prompts": prompts(jobs, f"{mode} {mark} "), "max_tokens": max_tokens}
    )


def _walked(peer: Peer, mode: str) -> list[float]:
    """Microseconds a token of an answer that is ready."""
    found = []
    for number in range(ROUNDS):
        wish = {"mode": mode, "prompts": prompts(8, f"{number} "), "max_tokens": 700, "walk": True}
        answer = peer.ask(wish)
        found.append(1e6 * answer["seconds"] / answer["tokens"])
    return found


def _figure(
    speed: dict[str, list[float]], first: dict[str, list[float]], walked: dict[str, list[float]]
) -> Figure:
    kept = {mode: ratio(speed[mode], speed["off"]) for mode in MODES}
    later = {
        mode: [a - b for a, b in zip(first[mode], first["off"], strict=True)] for mode in MODES
    }
    alone = {
        mode: statistics.median(walked[mode]) - statistics.median(walked["off"]) for mode in MODES
    }
    rows: list[tuple[str, ...]] = [
        (mode, spread(speed[mode]), spread(kept[mode], 3), spread(first[mode], 1), spread(later[mode], 2),
         f"{alone[mode]:.1f}")
        for mode in MODES
    ]  # fmt: skip
    share, delay = statistics.median(kept["observe"]), statistics.median(later["observe"])
    return Figure(
        "guard",
        "13. The guard",
        ("mode", "tokens/s", "of off", "first text, ms", "later than off, ms", "CPU of it, us a token"),
        rows,
        f"watching keeps {OF_PLAIN:g} of the tokens and costs {FIRST_MS:g} ms of the first text at most; "
        f"measured {share:.3f} and {delay:.2f} ms",
        share >= OF_PLAIN and delay <= FIRST_MS,
        [(f"{ROUNDS} rounds in turns, after one that is not counted, of {JOBS} answers of {TOKENS} tokens at once on "
          "one engine in one process; ratios round by round. First text: answers asked alone, the median of "
          f"{ALONE} a round."),
         ("All personal rules, a severe list of 200 terms, one pattern of the tenant's own; no classifier. The last "
          "column is of answers that no engine makes, which is what the guard takes of a core.")],
        {"speed": speed, "first_ms": first, "us_per_token": walked},
    )  # fmt: skip
