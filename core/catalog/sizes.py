"""How large a model is, read from its configuration alone: parameters by part, and those that LoRA adds.

The families whose decoder is Llama's; tests/core/test_sizes.py counts each on torch's meta device, too.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import InvalidInput

PRESETS = ("1B", "7B", "30B")
_PRESETS = Path(__file__).parents[1] / "model" / "presets"
# What sets a family apart from Llama: a bias on queries, keys and values; a norm on queries and keys.
_FAMILIES = {"llama": "", "mistral": "", "qwen2": "biased", "qwen3": "normed"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama-style decoder in numbers; widths are in elements."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    ff_width: int
    tied: bool
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Each linear of a layer as (inputs, outputs): what LoRA's `all-linear` attaches to."""
        query, pair = self.heads * self.head_width, self.kv_heads * self.head_width
        return {
            "q_proj": (self.width, query),
            "k_proj": (self.width, pair),
            "v_proj": (self.width, pair),
            "o_proj": (query, self.width),
            "gate_proj": (self.width, self.ff_width),
            "up_proj": (self.width, self.ff_width),
            "down_proj": (self.ff_width, self.width),
        }

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        biased = {
            "q_proj": self.attention_bias,
            "k_proj": self.attention_bias,
            "v_proj": self.attention_bias,
            "o_proj": self.output_bias,
            "gate_proj": self.mlp_bias,
            "up_proj": self.mlp_bias,
            "down_proj": self.mlp_bias,
        }
        weights = sum(i * o for i, o in self.linears.values())
        biases = sum(o for name, (_, o) in self.linears.items() if biased[name])
        norms = 2 * self.width + (2 * self.head_width if self.head_norms else 0)
        return weights + biases + norms

    @property
    def embedding(self) -> int:
        return self.vocab * self.width

    @property
    def total(self) -> int:
        ends = self.embedding * (1 if self.tied else 2)
        return ends + self.layers * self.layer + self.width

    @property
    def multiplied(self) -> int:
        """Parameters that each token is multiplied with: the output matrix counts, looking up a row does not."""
        return self.embedding + self.layers * self.layer + self.width


def shape(config: Mapping[str, Any]) -> Shape:
    """Raises InvalidInput for a family that is not known here, or a number that is missing."""
    family = str(config.get("model_type", ""))
    if family not in _FAMILIES:
        raise InvalidInput(
            f"The size of a model of type {family or 'unknown'!r} cannot be computed. "
            f"Types: {', '.join(_FAMILIES)}.",
            param="model",
            code="model_unsupported",
        )
    try:
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        asked = bool(config.get("attention_bias", False)) and family in ("llama", "qwen3")
        return Shape(
            vocab=int(config["vocab_size"]),
            width=width,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_width=int(config.get("head_dim") or width // heads),
            ff_width=int(config["intermediate_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_bias=asked or _FAMILIES[family] == "biased",
            output_bias=asked,
            mlp_bias=bool(config.get("mlp_bias", False)) and family == "llama",
            head_norms=_FAMILIES[family] == "normed",
        )
    except KeyError as missing:
        raise InvalidInput(
            f"The model's config.json lacks {missing}: its size cannot be computed.",
            param="model",
            code="model_unsupported",
        ) from missing


def parameters(config: Mapping[str, Any]) -> int:
    return shape(config).total


def adapter_parameters(
    config: Mapping[str, Any], rank: int, targets: str | Iterable[str] = "all-linear"
) -> int:
    """What LoRA of this rank trains: a matrix into the rank and one out of it, for each target of each layer.

    `targets`: names as in Shape.linears, or `all-linear`, which leaves out the output matrix as PEFT does.
    """
    of = shape(config)
    inside = targeted(of, targets).values()
    return of.layers * rank * sum(inputs + outputs for inputs, outputs in inside)


def targeted(of: Shape, targets: str | Iterable[str]) -> dict[str, tuple[int, int]]:
    if targets == "all-linear":
        return of.linears
    names = [targets] if isinstance(targets, str) else list(targets)
    unknown = sorted(set(names) - set(of.linears))
    if unknown:
        raise InvalidInput(
            f"LoRA cannot be attached to {', '.join(unknown)}: a layer has {', '.join(of.linears)}.",
            param="lora_targets",
        )
    return {name: of.linears[name] for name in names}


@cache
def _read(name: str) -> str:
    return (_PRESETS / f"{name}.json").read_text()


def preset(name: str) -> dict[str, Any]:
    """The configuration of a size, as a config.json of Hugging Face; `name`: one of PRESETS."""
    if name not in PRESETS:
        raise InvalidInput(f"There is no size {name!r}. Sizes: {', '.join(PRESETS)}.", param="size")
    config: dict[str, Any] = json.loads(_read(name))
    return config


def configuration(folder: Path) -> dict[str, Any]:
    """The configuration of a model's folder. Raises InvalidInput when there is none to read."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{folder.name or folder}/config.json cannot be read: {error}.", param="model"
        ) from error
    return config
