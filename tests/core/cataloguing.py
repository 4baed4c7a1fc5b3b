"""Short ways for tests of the catalog: a kept adapter, a version of it, a job that makes one."""

import json
from math import prod
from pathlib import Path
from typing import Any

from sqlalchemy import text

from core.catalog import headers, models, versions
from core.catalog.artifacts import Artifact, Entry, digest_of_files
from core.catalog.imports import CONFIG, WEIGHTS
from core.catalog.models import Served
from core.catalog.tables import Version
from core.catalog.versions import NewVersion
from core.config import MODEL_FOLDER
from core.db.session import Database
from core.ids import new_id
from core.jobs import attempts, service
from core.jobs.attempts import Claim, Outcome
from core.jobs.job import State
from core.jobs.kinds import InferenceJob
from core.security.keys import Caller


def safetensors(data: bytes = bytes(8), header: object = None) -> bytes:
    """A file of one tensor, or with any header."""
    plain = {"w": {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}}
    raw = json.dumps(plain if header is None else header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def adapter(folder: Path, data: bytes = bytes(8)) -> Path:
    """A folder as the trainer leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(safetensors(data))
    (folder / "adapter_config.json").write_text('{"r": 16}')
    return folder


def tensors(shapes: dict[str, list[int]]) -> bytes:
    """A file of zeros in these shapes."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return safetensors(bytes(end), header)


def lora(folder: Path, rank: int = 4) -> Path:
    """What PEFT would save for one layer of the shipped model."""
    folder.mkdir(parents=True, exist_ok=True)
    layer = "model.layers.0.self_attn.q_proj"
    out, into = headers.shapes(MODEL_FOLDER)[f"{layer}.weight"]
    both = {"A": [rank, into], "B": [out, rank]}
    named = {f"base_model.model.{layer}.lora_{n}.weight": shape for n, shape in both.items()}
    (folder / WEIGHTS).write_bytes(tensors(named))
    config = {
        "peft_type": "LORA",
        "r": rank,
        "bias": "none",
        "use_dora": False,
        "modules_to_save": None,
    }
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def unkept() -> Artifact:
    """An artefact of its own that no store holds: for tests of rows alone."""
    files = (Entry("adapter_model.safetensors", 8, new_id("x").rjust(64, "0")),)
    return Artifact(digest_of_files(files), "adapter", files, new_id("art"))


async def base(database: Database, **fields: Any) -> Served:
    """A model that nothing else uses, as a worker registers it."""
    served = Served(new_id("m"), "here", 2048, digest="b" * 64, **fields)
    async with database.begin() as session:
        await models.register(session, served)
    return served


async def version(
    database: Database, caller: Caller, model: Served, artifact: Artifact | None = None, **more: Any
) -> Version:
    """A version that is there at once: no job makes it."""
    new = NewVersion(caller.tenant_id, model.name, model.digest, **more)
    async with database.begin() as session:
        return await versions.add(session, new, artifact or unkept())


async def running(database: Database, caller: Caller, model: Served, kind: str) -> Claim:
    """A claimed job of any kind; what it is to do is of no interest here."""
    spec = InferenceJob.model_validate({"kind": "inference", "prompt": "x"})
    async with database.begin() as session:
        job = (await service.submit(session, caller, spec, model)).job
        await session.execute(
            text("UPDATE jobs SET kind = :kind WHERE id = :id"), {"kind": kind, "id": job.id}
        )
        (claim,) = await attempts.claim(session, [job.id], worker_id="w", lease_s=60)
    return claim


async def ended(database: Database, claim: Claim, state: State = State.SUCCEEDED) -> bool:
    async with database.single() as session:
        end = Outcome(claim.id, claim.attempt, state, claim.seq + 1)
        return claim.id in await attempts.finish(session, [end])
