"""Figures 3 and 4: the platform beside the bare engine, first token and tokens a second, turn by turn."""

import asyncio
import json
import statistics
from typing import Any

import psutil

from bench import through
from bench.accepted import prepared
from bench.figure import Figure, child, cpu_s, everything, quantile, ratio, said, spread, started
from bench.prompts import prompts
from core.ids import new_id
from tests.rig import Rig

MEDIAN_MS, P95_MS, OF_ENGINE = 25.0, 60.0, 0.95


class Peer:
    """A child that answers wishes, a line each; idle in between."""

    def __init__(
        self, module: str, env: dict[str, str], options: dict[str, Any] | None = None
    ) -> None:
        self.child = started(module, options or {}, env)

    def ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(wish | {"mark": new_id("m")}).encode() + b"\n")
        self.child.stdin.flush()
        while not (line := said(self.child)).startswith("{"):
            continue
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(30)


class Beside:
    """The bare engine in a child, and the platform on the same model and settings; idle in turns."""

    def __init__(self, rig: Rig, sequences: int) -> None:
        rig.env |= {
            "PENSTOCK_ENGINE": "vllm",
            "PENSTOCK_ENGINE_MAX_SEQUENCES": str(sequences),
            "PENSTOCK_ENGINE_DTYPE": "float32",
            "PENSTOCK_ENGINE_KV_CACHE_MB": "512",
        }
        self.rig = rig
        self.peer = Peer("bench.engine_alone", rig.environment)
        rig.start("api", "control", "inference")
        _, self.key = asyncio.run(prepared(rig, new_id("t")))

    def engine(self, wish: dict[str, Any]) -> dict[str, Any]:
        process = psutil.Process(self.peer.child.pid)
        before = self._cpu(process)
        answer = self.peer.ask(wish)
        return answer | {"cpu_s": self._cpu(process) - before}

    @staticmethod
    def _cpu(process: psutil.Process) -> float:
        family = [process, *process.children(recursive=True)]
        return sum(sum(p.cpu_times()[:2]) for p in family)

    def platform(self, wish: dict[str, Any], how: Any) -> dict[str, Any]:
        before = cpu_s(everything(self.rig))
        answer: dict[str, Any] = asyncio.run(how(self.rig, self.key, wish))
        return answer | {"cpu_s": cpu_s(everything(self.rig)) - before}

    def end(self) -> None:
        self.peer.end()


def first_token(rig: Rig, *, rounds: int = 4, each: int = 48) -> Figure:
    """Figure 3. `rig` has its stack started."""
    both = Beside(rig, 64)
    rows: list[tuple[str, ...]] = []
    met = True
    raw: dict[str, Any] = {}
    for concurrency in (1, 16):
        alone: list[float] = []
        whole: list[float] = []
        for turn in range(rounds + 1):
            mark = f"{turn}"
            named = prompts(each, f"{mark} {concurrency} ")
            wish = {"concurrency": concurrency, "max_tokens": 24}
            a = both.engine(wish | {"prompts": named})
            b = child("bench.stream_load", wish | {"port": rig.ports["api"], "key": both.key,
                      "count": each, "mark": mark}, rig.environment)  # fmt: skip
            if turn:
                alone += a["first_s"]
                whole += [ms / 1000 for ms in b["first"]]
        over = [quantile(whole, q) * 1000 - quantile(alone, q) * 1000 for q in (0.5, 0.95)]
        met = met and over[0] < MEDIAN_MS and over[1] < P95_MS
        ms = [f"{quantile(x, q) * 1000:.1f}" for q in (0.5, 0.95) for x in (alone, whole)]
        print(f"  concurrency {concurrency}: over {over[0]:.1f} / {over[1]:.1f} ms")
        rows.append(
            (
                str(concurrency),
                ms[0],
                ms[1],
                f"**{over[0]:.1f}**",
                ms[2],
                ms[3],
                f"**{over[1]:.1f}**",
            )
        )
        raw[str(concurrency)] = {"engine_s": alone, "platform_s": whole}
    both.end()
    return Figure(
        "first_token",
        "3. Time to first token, in milliseconds",
        ("at once", "engine p50", "platform p50", "added", "engine p95", "platform p95", "added"),
        rows,
        f"adds under {MEDIAN_MS:g} ms at the median and {P95_MS:g} ms at p95",
        met,
        [f"{rounds} rounds of {each} prompts in turns, after one that is not counted; greedy, float32, rill.",
         ("Platform: from before the POST to the first token on the job's stream, over HTTP; engine: "
         "from the call to its first chunk, in a process of its own with nothing else in it.")],
        raw,
    )  # fmt: skip


def throughput(rig: Rig, *, rounds: int = 3, jobs: int = 256) -> Figure:
    """Figure 4. `rig` has its stack started."""
    both = Beside(rig, jobs)
    alone: list[float] = []
    whole: list[float] = []
    engine_cost: list[tuple[float, float]] = []
    cost_of_all: list[tuple[float, float]] = []
    for turn in range(rounds + 1):
        # To the last token: rill ends by itself after thirty, and then submitting is what is measured.
        wish = {"concurrency": jobs, "prompts": prompts(jobs, f"{turn} "), "max_tokens": 200,
                "ignore_eos": True}  # fmt: skip
        a, b = both.engine(wish), both.platform(wish, through.drain)
        print(
            f"  {turn}: engine {a['tokens'] / a['seconds']:.0f}, platform {b['tokens'] / b['seconds']:.0f}"
        )
        if turn:
            alone.append(a["tokens"] / a["seconds"])
            whole.append(b["tokens"] / b["seconds"])
            for side, cost in ((a, engine_cost), (b, cost_of_all)):
                cost.append((side["cpu_s"] / side["seconds"], side["cpu_s"] * 1e6 / side["tokens"]))
    both.end()
    cores, each = (statistics.median(c[i] for c in engine_cost) for i in (0, 1))
    cores_all, each_all = (statistics.median(c[i] for c in cost_of_all) for i in (0, 1))
    ratios = ratio(whole, alone)
    middle = statistics.median(ratios)
    return Figure(
        "throughput",
        f"4. Output tokens a second, {jobs} jobs at once",
        ("", "tokens/s"),
        [("engine alone", spread(alone)), ("through the platform", spread(whole)), ("**ratio**", spread(ratios, 2))],
        f"at least {OF_ENGINE:g} of the engine fed directly; measured {middle:.2f}",
        middle >= OF_ENGINE,
        [f"{rounds} rounds in turns after one that is not counted; the same prompts, 200 tokens each, greedy, float32.",
         ("Platform: from the first POST to the last terminal state, so submission counts. The model has "
         "five million parameters: everything around it weighs as heavily as it can."),
         (f"Where the time goes: the engine alone keeps {cores:.1f} cores busy and uses {each:.0f} us of CPU a "
         f"token; the platform with all its processes {cores_all:.1f} cores and {each_all:.0f} us.")],
        {"engine": alone, "platform": whole},
    )  # fmt: skip
