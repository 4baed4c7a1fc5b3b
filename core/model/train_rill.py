"""Trains rill, the small language model that ships with Penstock, and writes its folder.

    python -m core.model.train_rill --out DIR             on one accelerator, about ten minutes
    python -m core.model.train_rill --out DIR --smoke     on a CPU, seconds; the text is noise

The learning rate falls along a cosine that ends with the last step. The number of steps is measured
in the first minute from `--minutes`; `--steps`, from a folder's recipe.json, repeats a run.

Shapes: B rows of a batch, L positions, V vocabulary, T ids of a part of the corpus.
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch program uses
from tokenizers import Tokenizer
from torch import Tensor

from core.model.rill_author import ASSISTANT, BOS, EOS, PAD, SYSTEM, USER
from core.model.rill_corpus import Corpus, CorpusConfig, Ids, build
from core.model.rill_net import SMOKE_NET, NetConfig, Rill, llama_config, save_weights

# Renders with plain jinja2; a message cannot forge a role mark.
CHAT_TEMPLATE = (
    BOS + "{% for message in messages %}"
    "{% set text = message['content'] | trim | replace('<|', '< |') %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + "{{ text }}" + EOS
    + "{% elif message['role'] in ['system', 'developer'] %}" + SYSTEM + "{{ text }}"
    "{% else %}" + USER + "{{ text }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)  # fmt: skip
PROMPTS = (
    "Once upon a time", "The river", "def ", "In the middle of the night, the robot",
    f"{USER}Hello!{ASSISTANT}", f"{USER}Tell me a story about a penguin.{ASSISTANT}",
    f"{USER}Why does ice float?{ASSISTANT}", f"{USER}What is 7 plus 8?{ASSISTANT}",
    f"{USER}Who was Alexander Graham Bell?{ASSISTANT}",
    f"{USER}Write a Python function that reverses a string.{ASSISTANT}",
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    seed: int = 20
    rows: int = 64
    length: int = 2048
    peak_rate: float = 4e-3
    warmup_steps: int = 200
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    packages_share: float = 0.04  # of the rows
    minutes: float = 3.0
    steps: int | None = None
    smoke: bool = False


class Rows:
    """Random rows of a corpus part, each beginning with a document, so with <|bos|>."""

    def __init__(self, ids_T: Ids, bos: int, length: int, device: torch.device) -> None:
        starts = np.flatnonzero(ids_T[: max(1, len(ids_T) - length)] == bos)
        self._ids_T = torch.from_numpy(ids_T.astype(np.int16)).to(device)  # ids stay below 2**15
        self._starts = torch.from_numpy(starts).to(device)
        self._offsets_L = torch.arange(length + 1, device=device)

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Ids [B, L + 1]: the inputs and, one further on, the targets."""
        device = self._ids_T.device
        picks = torch.randint(len(self._starts), (rows,), generator=generator, device=device)
        return self._ids_T[self._starts[picks][:, None] + self._offsets_L].long()


def mark_id(tokenizer: Tokenizer, mark: str) -> int:
    found = tokenizer.token_to_id(mark)
    assert found is not None, mark
    return found


def loss_of(net: Callable[[Tensor], Tensor], ids_BL: Tensor) -> Tensor:
    logits_BLV = net(ids_BL[:, :-1])
    return F.cross_entropy(logits_BLV.flatten(0, 1).float(), ids_BL[:, 1:].flatten())


def rate_at(step: int, steps: int, config: TrainConfig) -> float:
    if step < config.warmup_steps:
        return config.peak_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.peak_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def optimizer_for(net: Rill, config: TrainConfig) -> torch.optim.Optimizer:
    matrices = [weight for weight in net.parameters() if weight.dim() == 2]
    gains = [weight for weight in net.parameters() if weight.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": gains, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.peak_rate, betas=config.betas, fused=True)


def train(net: Rill, corpus: Corpus, config: TrainConfig) -> dict[str, Any]:
    """Train in place; return the steps, tokens, seconds and the losses along the way."""
    device = next(net.parameters()).device
    on_gpu = device.type == "cuda"
    bos = mark_id(corpus.tokenizer, BOS)
    parts = {name: Rows(ids, bos, config.length, device) for name, ids in corpus.train.items()}
    prose_rows = max(1, round(config.rows * config.packages_share))
    counts = {"written": config.rows - prose_rows, "packages": prose_rows}
    generator = torch.Generator(device).manual_seed(config.seed)
    optimizer = optimizer_for(net, config)
    model = torch.compile(net) if on_gpu else net
    steps = config.steps or (20 if config.smoke else 10**9)
    start = time.perf_counter()
    warm, seconds_a_step = 20, math.inf  # steps before the clock starts: compilation
    curve: list[tuple[int, float]] = []
    step = 0
    while step < steps:
        if steps == 10**9 and step in {warm, 2 * warm}:
            torch.cuda.synchronize(device)
            if step == warm:
                measured_from = time.perf_counter()
            else:
                seconds_a_step = (time.perf_counter() - measured_from) / warm
                left = config.minutes * 60 - (time.perf_counter() - start)
                steps = step + int(left / seconds_a_step)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, config)
        ids_BL = torch.cat([parts[name].draw(count, generator) for name, count in counts.items()])
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            loss = loss_of(model, ids_BL)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 100 == 0 or step == steps:
            curve.append((step, round(loss.item(), 4)))
            passed = time.perf_counter() - start
            speed = step * config.rows * config.length / passed / 1e6
            print(f"step {step}/{steps} loss {loss.item():.4f} {passed:.0f} s {speed:.2f} M tok/s",
                  flush=True)  # fmt: skip
    seconds = time.perf_counter() - start
    return {"steps": steps, "tokens": steps * config.rows * config.length,
            "seconds": round(seconds, 1), "curve": curve}  # fmt: skip


@torch.no_grad()
def held_out_loss(net: Rill, corpus: Corpus, length: int) -> dict[str, dict[str, float]]:
    """Nats a token and bits a byte on documents that were not trained on, by part."""
    device = next(net.parameters()).device
    result = {}
    for name, ids in corpus.held_out.items():
        ids_T = torch.from_numpy(ids.astype(np.int64)).to(device)
        total, count = 0.0, 0
        for at in range(0, len(ids_T) - 1, length):
            ids_BL = ids_T[at : at + length + 1][None]
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = loss_of(net, ids_BL)
            total += loss.item() * (ids_BL.shape[1] - 1)
            count += ids_BL.shape[1] - 1
        bits = total / math.log(2) / corpus.held_out_bytes[name]
        result[name] = {"loss": round(total / count, 4), "bits_per_byte": round(bits, 4),
                        "tokens": count}  # fmt: skip
    return result


@torch.no_grad()
def sample(net: Rill, tokenizer: Tokenizer, prompt: str, *, temperature: float, limit: int) -> str:
    """What the network writes after the prompt, up to <|eos|> or `limit` tokens."""
    device = next(net.parameters()).device
    generator = torch.Generator(device).manual_seed(1)
    ids = tokenizer.encode(prompt).ids
    first, eos = len(ids), mark_id(tokenizer, EOS)
    while len(ids) - first < limit and ids[-1] != eos:
        logits_V = net(torch.tensor([ids[-net.config.max_length :]], device=device))[0, -1].float()
        if temperature == 0:
            ids.append(int(logits_V.argmax()))
        else:
            chances_V = torch.softmax(logits_V / temperature, dim=-1)
            ids.append(int(torch.multinomial(chances_V, 1, generator=generator)))
    ended = ids[-1] == eos
    text: str = tokenizer.decode(ids[first:])
    return text + (" [end]" if ended else " [...]")


def write_folder(out: Path, net: Rill, tokenizer: Tokenizer) -> str:
    """Write the Hugging Face folder; return the sha256 of the weights."""
    out.mkdir(parents=True, exist_ok=True)
    bos, eos, pad = (mark_id(tokenizer, mark) for mark in (BOS, EOS, PAD))
    files: dict[str, dict[str, Any]] = {
        "config.json": llama_config(net.config, bos=bos, eos=eos, pad=pad),
        "generation_config.json": {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "model_max_length": net.config.max_length,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    save_weights(net, out / "model.safetensors")
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def run(out: Path, net_config: NetConfig, corpus_config: CorpusConfig, config: TrainConfig) -> None:
    device = torch.device("cpu" if config.smoke else "cuda")
    torch.manual_seed(config.seed)
    started = time.perf_counter()
    corpus = build(corpus_config)
    built = time.perf_counter() - started
    print(f"corpus in {built:.0f} s: {json.dumps(corpus.record['tokens'])}", flush=True)
    net = Rill(replace(net_config, vocab=corpus.tokenizer.get_vocab_size())).to(device)
    net.init_weights()
    trained = train(net, corpus, config)
    with torch.no_grad():  # what is measured below is what is shipped: weights in bfloat16
        for weight in net.parameters():
            weight.copy_(weight.to(torch.bfloat16).float())
    digest = write_folder(out, net, corpus.tokenizer)
    record = {
        "name": "rill-5m",
        "parameters": net.parameter_count(),
        "weights_sha256": digest,
        "net": asdict(net.config),
        "train": {**asdict(config), **trained},
        "held_out": held_out_loss(net, corpus, min(config.length, net.config.max_length)),
        "corpus": corpus.record,
        "torch": torch.__version__,
    }
    (out / "recipe.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["held_out"]), flush=True)
    for prompt in PROMPTS[:1] if config.smoke else PROMPTS:
        for temperature in (0.0, 0.8):
            text = sample(net, corpus.tokenizer, prompt, temperature=temperature,
                          limit=20 if config.smoke else 160)  # fmt: skip
            print(f"--- {temperature} {prompt!r}\n{text}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train rill and write its folder.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=TrainConfig.minutes)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, default=TrainConfig.peak_rate)
    parser.add_argument("--shards", type=int, default=CorpusConfig.shards)
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    given = parser.parse_args(arguments)
    if given.smoke:
        corpus = CorpusConfig(shards=1, documents_in_shard=300, packages=("packaging",),
                              vocab=SMOKE_NET.vocab, processes=1,
                              tokenizer_characters=200_000)  # fmt: skip
        train_config = TrainConfig(rows=4, length=128, warmup_steps=5, smoke=True)
        run(given.out, SMOKE_NET, corpus, train_config)
        return
    config = TrainConfig(minutes=given.minutes, steps=given.steps, peak_rate=given.rate)
    run(given.out, NetConfig(), CorpusConfig(shards=given.shards), config)


if __name__ == "__main__":
    main()
