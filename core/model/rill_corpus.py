"""The data recipe of rill: documents of our own writer, and prose from installed packages.

The writer's share is written in shards, each from its own seed, so that the text does not depend on
how many processes write it. The packages' share is the prose of docstrings and read-me files,
read from the sources without importing them.
"""

import ast
import hashlib
import inspect
import json
import multiprocessing
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from random import Random
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from core.model.rill_author import ASSISTANT, BOS, EOS, PAD, SYSTEM, USER, Author

Ids = NDArray[np.uint16]
SPECIALS = [BOS, EOS, PAD, SYSTEM, USER, ASSISTANT]
# Permissively licensed packages that a machine-learning environment tends to hold, large ones first.
STANDARD_LIBRARY = "python"
PACKAGES = (
    STANDARD_LIBRARY, "transformers", "torch", "sympy", "jax", "scipy", "scikit-learn", "pandas",
    "matplotlib", "pip", "statsmodels", "numba", "networkx", "accelerate", "attrs", "botorch",
    "click", "diffrax", "einops", "equinox", "fastapi", "flax", "gpytorch", "h5py", "httpx",
    "hypothesis", "jinja2", "joblib", "lightning", "markdown", "markdown-it-py", "narwhals",
    "numpy", "numpyro", "optax", "optimistix", "orbax-checkpoint", "packaging", "patsy", "peft",
    "pluggy", "pydantic", "pygments", "pyparsing", "pytest", "requests", "rich", "scikit-image",
    "seaborn", "sentence-transformers", "setuptools", "sqlalchemy", "starlette", "timm",
    "torch-geometric", "torchmetrics", "torchvision", "typer", "urllib3", "werkzeug", "xarray",
)  # fmt: skip
_PERMISSIVE = re.compile(r"BSD|MIT|Apache|PSF|Python Software Foundation", re.IGNORECASE)
_COPYLEFT = re.compile(r"GPL|Mozilla|MPL", re.IGNORECASE)
_SECTION = re.compile(
    r"^\s*(?:[-=~]{3,}|:\w+.*:|(?:Args|Arguments|Returns|Raises|Yields|Examples?|Parameters"
    r"|References|Notes?|Attributes|Shape|Inputs?|Outputs?):?)\s*$"
)
# Code, markup, addresses of people and of pages
_NOT_PROSE = re.compile(r">>>|<\||\w@\w|:\w+:|::|\\\\|\||https?://|[^\x00-\x7f]|\[!|</")


Task = TypeVar("Task")
Done = TypeVar("Done")


@dataclass(frozen=True)
class CorpusConfig:
    seed: int = 20
    shards: int = 64
    documents_in_shard: int = 10_000
    packages: tuple[str, ...] = PACKAGES
    vocab: int = 4096
    tokenizer_characters: int = 24_000_000  # half from the writer, half from the packages
    held_out: float = 0.02  # of the packages' documents; the writer's are written extra
    processes: int = 16


@dataclass
class Corpus:
    """Token ids, every document from its <|bos|> to its <|eos|>."""

    tokenizer: Tokenizer
    train: dict[str, Ids]
    held_out: dict[str, Ids]
    held_out_bytes: dict[str, int]
    record: dict[str, object] = field(default_factory=dict)


def _map(work: Callable[[Task], Done], tasks: Sequence[Task], processes: int) -> list[Done]:
    if processes == 1:
        return [work(task) for task in tasks]
    # Spawned, not forked: the tokenizers library starts threads.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.map(work, tasks, chunksize=1)


# Prose of packages


def paragraphs(text: str) -> list[str]:
    """The readable paragraphs before the first section of parameters; lines joined."""
    kept: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        section = next((i for i, line in enumerate(lines) if _SECTION.match(line)), None)
        if section is not None and kept:
            break
        joined = " ".join(line.strip() for line in lines)
        letters = sum(char.isalpha() or char == " " for char in joined)
        is_prose = (
            section is None
            and 30 < len(joined) < 1500
            and joined[0].isupper()
            and joined[-1] in ".!?:"
            and letters > 0.85 * len(joined)
            and not _NOT_PROSE.search(joined)
        )
        if is_prose:
            kept.append(re.sub(r"\s+", " ", joined).replace("``", "`"))
    return kept


def docstring_documents(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        found = paragraphs(inspect.cleandoc(ast.get_docstring(node, clean=False) or ""))
        if isinstance(node, ast.FunctionDef) and len(found) == 1 and len(found[0]) < 300:
            names = ", ".join(arg.arg for arg in node.args.args)
            yield f'def {node.name}({names}):\n    """{found[0]}"""\n'
        elif found:
            yield "\n\n".join(found)


def _sources(name: str) -> tuple[list[Path], str, str, str]:
    """A package's Python files, its version, its licence and its read-me."""
    distribution = metadata.distribution(name)
    about = distribution.metadata.json
    classifiers = (str(c) for c in about.get("classifier", ()))
    licence = (
        str(about.get("license_expression", ""))
        or ", ".join(c.rsplit(" :: ", 1)[-1] for c in classifiers if c.startswith("License"))
        or str(about.get("license", "")).strip()[:60].partition("\n")[0]
    )
    paths = [Path(str(file.locate())) for file in distribution.files or () if file.suffix == ".py"]
    return sorted(paths), distribution.version, licence, str(about.get("description", ""))


def _standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    skip = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"}
    return [path for path in sorted(root.rglob("*.py")) if not skip & set(path.parts)]


def documents_of(package: str) -> tuple[list[str], dict[str, str]]:
    """A package's documents, version and licence; nothing if it is absent or not permissive."""
    if package == STANDARD_LIBRARY:
        paths, readme = _standard_library(), ""
        about = {"version": ".".join(map(str, sys.version_info[:3])), "licence": "PSF-2.0"}
    else:
        try:
            paths, version, licence, readme = _sources(package)
        except metadata.PackageNotFoundError:
            return [], {}
        about = {"version": version, "licence": licence}
        if not _PERMISSIVE.search(licence) or _COPYLEFT.search(licence):
            return [], {}
    texts = (path.read_text("utf-8", "ignore") for path in paths if path.exists())
    documents = [document for text in texts for document in docstring_documents(text)]
    documents.append("\n\n".join(paragraphs(readme)))
    return [document for document in documents if len(document) > 40], about


def package_documents(config: CorpusConfig) -> tuple[list[str], dict[str, object]]:
    """Unique documents in a seeded order, and for each package its version, licence and count."""
    unique: dict[str, None] = {}
    record: dict[str, object] = {}
    found = _map(documents_of, config.packages, config.processes)
    for package, (documents, about) in zip(config.packages, found, strict=True):
        before = len(unique)
        unique.update(dict.fromkeys(documents))
        if about:
            record[package] = {**about, "documents": len(unique) - before}
    shuffled = sorted(unique)
    Random(config.seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    return shuffled, record


# Tokens


def new_tokenizer(texts: list[str], vocab: int) -> Tokenizer:
    """A byte-level BPE: any text goes in and comes out unchanged; digits stand alone."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    # A bare prompt begins with <|bos|>, as every document here does.
    bos = (BOS, tokenizer.token_to_id(BOS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[bos]
    )
    return tokenizer


def encode(tokenizer: Tokenizer, documents: list[str]) -> Ids:
    encodings = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
    return np.concatenate([np.array(encoding.ids, dtype=np.uint16) for encoding in encodings])


def broken(documents: list[str], rng: Random, share: float = 0.15) -> list[str]:
    """The same text, some documents in two pieces, so that no token reaches over the break.

    A prompt ends anywhere, after a blank or inside a word, where whole documents never do.
    """
    pieces: list[str] = []
    for text in documents:
        at = rng.randrange(len(text)) if rng.random() < share else 0
        if at and "<|" not in text[max(0, at - 14) : at + 2]:
            pieces += [text[:at], text[at:]]
        else:
            pieces.append(text)
    return pieces


def written(seed: str, count: int) -> list[tuple[str, str]]:
    author = Author(Random(seed))  # noqa: S311 - text, not secrets
    return [author.document() for _ in range(count)]


def _shard(task: tuple[str, int, str]) -> tuple[Ids, Counter[str], str]:
    """One shard: its token ids, its documents by kind, the sha256 of its text."""
    seed, count, tokenizer_json = task
    documents = written(seed, count)
    tokenizer = Tokenizer.from_str(tokenizer_json)
    texts = [text for _, text in documents]
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    pieces = broken(texts, Random(seed))  # noqa: S311 - text, not secrets
    return encode(tokenizer, pieces), Counter(kind for kind, _ in documents), digest


def build(config: CorpusConfig) -> Corpus:
    prose, packages = package_documents(config)
    prose = [BOS + text + EOS for text in prose]
    held = max(1, int(len(prose) * config.held_out))
    sample: list[str] = []
    for texts in (prose[held:], [text for _, text in written(f"{config.seed}/words", 30_000)]):
        size = 0
        for text in texts:
            sample.append(text)
            size += len(text)
            if size > config.tokenizer_characters // 2:
                break
    tokenizer = new_tokenizer(sample, config.vocab)
    as_json = tokenizer.to_str()
    tasks = [
        (f"{config.seed}/{n}", config.documents_in_shard, as_json) for n in range(config.shards)
    ]
    shards = _map(_shard, tasks, config.processes)
    ids = np.concatenate([shard_ids for shard_ids, _, _ in shards])
    kinds, digest = Counter[str](), hashlib.sha256()
    for _, shard_kinds, shard_digest in shards:
        kinds += shard_kinds
        digest.update(shard_digest.encode())
    written_digest = digest.hexdigest()
    prose_text = "".join(prose[held:])
    digest.update(hashlib.sha256(prose_text.encode()).hexdigest().encode())
    fresh = [text for _, text in written(f"{config.seed}/held-out", max(20, 4 * held))]
    pieces = broken(prose[held:], Random(config.seed))  # noqa: S311 - text, not secrets
    train = {"written": ids, "packages": encode(tokenizer, pieces)}
    record = {
        "seed": config.seed,
        "shards": config.shards,
        "written_documents": dict(sorted(kinds.items())),
        "package_documents": packages,
        "tokens": {name: len(part) for name, part in train.items()},
        "sha256": digest.hexdigest(),
        "sha256_of": "the hex sha256 of each shard's text in order, then of the packages' text",
        "written_sha256": written_digest,
        "first_shard_sha256": shards[0][2],
    }
    return Corpus(
        tokenizer,
        train,
        {"written": encode(tokenizer, fresh), "packages": encode(tokenizer, prose[:held])},
        {"written": _bytes(fresh), "packages": _bytes(prose[:held])},
        json.loads(json.dumps(record)),
    )


def _bytes(documents: list[str]) -> int:
    """Bytes of text without the marks, for bits per byte."""
    marks = "|".join(re.escape(mark) for mark in SPECIALS)
    return sum(len(re.sub(marks, "", text).encode()) for text in documents)
