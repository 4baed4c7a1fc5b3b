"""Figure 9: how soon a new adapter answers on a warm engine, and what adapters cost those who ask for none."""

import asyncio
import statistics
import time
from pathlib import Path

import torch
from httpx import AsyncClient
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from bench.engine import Peer
from bench.figure import Figure, ratio, spread
from bench.prompts import prompts
from core.catalog import artifacts, models, versions
from core.catalog.versions import NewVersion
from core.config import MODEL_FOLDER
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from core.storage.place import storage_of
from tests.rig import Rig

# Seconds from a version's publication to its first whole answer; and of the tokens of an engine without adapters,
# what one with room for them makes when nobody asks for any.
MOST_S, OF_PLAIN = 5.0, 0.97
NEW, WARM = 12, 2
ROUNDS, JOBS = 6, 64
MIXES = (0, 1, 4)


def made(folder: Path, number: int) -> Path:
    """An adapter of rank 16 on every linear layer of rill, with random weights."""
    torch.manual_seed(number)
    model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(str(folder))
    # PEFT's words for a reader; an artefact holds none.
    (folder / "README.md").unlink(missing_ok=True)
    return folder


def throughput(rig: Rig, folders: list[Path]) -> dict[str, list[float]]:
    """Tokens a second of two engines in turns: one without adapters, one with room for eight."""
    env = rig.environment | {
        "PENSTOCK_ENGINE_MAX_SEQUENCES": str(JOBS), "PENSTOCK_ENGINE_DTYPE": "float32",
    }  # fmt: skip
    plain = Peer("bench.engine_alone", env | {"PENSTOCK_ENGINE_LORAS": "0"})
    able = Peer("bench.engine_alone", env | {"PENSTOCK_ENGINE_LORAS": "8"})
    named = [[f"{number:064x}", str(folder)] for number, folder in enumerate(folders, 1)]
    found: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        wish = {"concurrency": JOBS, "prompts": prompts(JOBS, f"{turn} "), "max_tokens": 100,
                "ignore_eos": True}  # fmt: skip
        sides = [("plain", plain, 0), *((f"{count}", able, count) for count in MIXES)]
        # Forth and back: who comes first or last in a turn is not to matter.
        for name, peer, count in sides if turn % 2 else sides[::-1]:
            answer = peer.ask(wish | {"adapters": named[:count]})
            if turn:
                found.setdefault(name, []).append(answer["tokens"] / answer["seconds"])
        print(f"  {turn}: { ({name: round(v[-1]) for name, v in found.items()}) }", flush=True)
    plain.end()
    able.end()
    return found


async def first_answers(rig: Rig, folders: list[Path]) -> dict[str, list[float]]:
    """Seconds of whole answers of 24 tokens: a new version's first, its second, and its base's."""
    key = await rig.key(new_id("t"))
    database = Database(rig.settings(), name="bench", pool=1)
    storage = storage_of(rig.settings())
    async with database.begin() as session:
        caller = await keys.authenticate(session, key)
        (base,) = [m for m in await models.listed(session) if m.name == "rill"]
    found: dict[str, list[float]] = {"first": [], "second": [], "base": []}
    async with rig.client(key) as client:
        for number, folder in enumerate(folders):
            await _answered(client, "rill", number)
            artifact = await artifacts.keep(storage, folder, "adapter")
            new = NewVersion(caller.tenant_id, base.name, base.digest, suffix="bench")
            async with database.begin() as session:
                version = await versions.add(session, new, artifact)
            # Committed: from here on it is there, as after the statement that ends its job.
            for name, model in (
                ("first", version.name),
                ("second", version.name),
                ("base", "rill"),
            ):
                took = await _answered(client, model, number)
                if number >= WARM:
                    found[name].append(took)
    await database.close()
    return found


async def _answered(client: AsyncClient, model: str, number: int) -> float:
    body = {
        "model": model, "messages": [{"role": "user", "content": f"Tell me of river {number}."}],
        "max_tokens": 24, "min_tokens": 24, "temperature": 0,
    }  # fmt: skip
    began = time.perf_counter()
    (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    return time.perf_counter() - began


def measure(rig: Rig) -> Figure:
    """`rig` has its stack started."""
    folders = [made(rig.folder / "made" / str(number), number) for number in range(NEW + WARM)]
    tokens = throughput(rig, folders[: max(MIXES)])
    rig.env |= {"PENSTOCK_ENGINE": "vllm", "PENSTOCK_ENGINE_DTYPE": "float32"}
    rig.start("api", "control", "inference")
    took = asyncio.run(first_answers(rig, folders))
    beside = ratio(took["first"], took["base"])
    kept = ratio(tokens["0"], tokens["plain"])
    rows: list[tuple[str, ...]] = [
        ("first answer of a new version, s", spread(took["first"], 3), spread(beside, 2)),
        ("its second answer, s", spread(took["second"], 3), spread(ratio(took["second"], took["base"]), 2)),
        ("an answer of the base, s", spread(took["base"], 3), "1"),
        ("tokens/s, engine without adapters", spread(tokens["plain"]), "1"),
    ]  # fmt: skip
    for count in MIXES:
        what = (
            "none asked for" if not count else f"{count} in turns" if count > 1 else "all with one"
        )
        rows.append((f"tokens/s with room for 8 adapters, {what}", spread(tokens[f"{count}"]),
                     spread(ratio(tokens[f"{count}"], tokens["plain"]), 2)))  # fmt: skip
    slowest, middle = max(took["first"]), statistics.median(kept)
    return Figure(
        "adapters",
        "11. Adapters",
        ("", "", "ratio"),
        rows,
        f"the first answer within {MOST_S:g} s of the publication, and {OF_PLAIN:g} of the tokens for those who ask "
        f"for no adapter; the slowest took {slowest:.2f} s, measured {middle:.2f}",
        slowest < MOST_S and middle >= OF_PLAIN,
        [(f"{NEW} versions of rank 16, one after the other on a warm engine, {WARM} more not counted: from the commit "
         "that publishes to the whole answer of 24 tokens over HTTP, fetching, checking and loading included."),
         (f"Tokens: {JOBS} requests of 100 tokens at once, {ROUNDS} rounds in turns after one that is not counted; "
         "greedy, float32, rill; ratios to the engine without adapters, round by round.")],
        {"seconds": took, "tokens_per_s": tokens},
    )  # fmt: skip
