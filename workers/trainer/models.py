"""The network that is trained: loaded from a folder, given adapters, handed over as files."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel, set_seed

from workers.trainer.faults import Unsupported
from workers.trainer.plan import Plan

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = ("adapter_model.safetensors", ADAPTER_CONFIG)
# Beside the weights, as the base has them: a fine-tuned model reads and writes the same tokens.
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
SETTINGS = ("config.json", "generation_config.json")


def load(plan: Plan) -> PreTrainedModel | PeftModel:
    """The base model, or with adapters on it: new ones from the seed, or those of `start_from`.

    Raises Unsupported when the folder holds no causal language model in safetensors.
    """
    base = _base(plan)
    if plan.tuning == "full":
        return base
    # DeepSpeed keeps float32 masters of its own, and wants one dtype in the model.
    upcast = plan.deepspeed is None
    if plan.start_from:
        return PeftModel.from_pretrained(
            base, str(plan.start_from), is_trainable=True, autocast_adapter_dtype=upcast
        )
    # The adapters' first values, the same on every rank.
    set_seed(plan.seed)
    hyper = plan.hyper
    targets = hyper.lora_targets
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=hyper.lora_rank,
        lora_alpha=int(hyper.lora_alpha),
        lora_dropout=hyper.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    try:
        return get_peft_model(base, config, autocast_adapter_dtype=upcast)  # type: ignore[return-value, unused-ignore]
    except ValueError as error:
        raise Unsupported(f"lora_targets: this model has no such layers: {error}") from error


def _base(plan: Plan) -> PreTrainedModel:
    # Full training moves float32 weights, under autocast: an update of a weight in bfloat16 is mostly rounded
    # away. What stays frozen may be small.
    small = plan.tuning == "lora" or plan.deepspeed is not None
    try:
        return AutoModelForCausalLM.from_pretrained(  # type: ignore[no-any-return, unused-ignore]
            str(plan.model),
            dtype=DTYPES[plan.precision] if small else torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (ValueError, KeyError, OSError) as error:
        kind = _architecture(plan.model)
        raise Unsupported(f"{plan.base_name} ({kind}) cannot be trained here: {error}") from error


def _architecture(folder: Path) -> str:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return "no readable config.json"
    return ", ".join(config.get("architectures") or [str(config.get("model_type", "unnamed"))])


def pad_id(model: PreTrainedModel | PeftModel) -> int:
    """Any token does, since padding is never looked at; the model's own is the clearest."""
    config = model.config
    for token in (config.pad_token_id, config.eos_token_id):
        if isinstance(token, int):
            return token
    return 0


def tidy(folder: Path, plan: Plan) -> None:
    """Of what save_pretrained wrote, keep what is ours: no model card, and the same bytes each time."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / ADAPTER_CONFIG
    if path.exists():
        config = json.loads(path.read_text())
        # Where the base lies on this host is nobody's business.
        config["base_model_name_or_path"] = plan.base_name
        # PEFT keeps a set.
        if isinstance(config.get("target_modules"), list):
            config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def hand_over(checkpoint: Path, plan: Plan) -> None:
    """Fill `out` with the weights of a checkpoint: an adapter, or a model that stands on its own."""
    new = plan.out.with_name(f".{plan.out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    if plan.tuning == "lora":
        wanted = [checkpoint / name for name in ADAPTER]
    else:
        wanted = [*checkpoint.glob("model*.safetensors"), *checkpoint.glob("model*.index.json")]
        wanted += [path for name in SETTINGS if (path := checkpoint / name).exists()]
        wanted += [path for name in TOKENIZER if (path := plan.model / name).exists()]
    for path in wanted:
        shutil.copyfile(path, new / path.name)
    if plan.tuning == "full" and plan.precision != "float32":
        _narrow(new, plan.precision)
    shutil.rmtree(plan.out, ignore_errors=True)
    new.rename(plan.out)


def _narrow(folder: Path, precision: str) -> None:
    """The float32 masters of mixed precision become what the network calculated with: half the bytes to serve."""
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        narrow = {
            name: tensor.to(DTYPES[precision]) if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
        save_file(narrow, path, metadata={"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"dtype": precision}, indent=2) + "\n")
