"""Rill's network, a small Llama in plain PyTorch, and the Hugging Face folder it is kept in.

Shapes: B rows of a batch, L positions, D width, N query heads, K key-value heads, H head width,
F feed-forward width, V vocabulary.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch program uses
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class NetConfig:
    vocab: int = 4096
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    ff_width: int = 576
    max_length: int = 2048
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


SMOKE_NET = NetConfig(vocab=512, width=64, layers=2, heads=2, kv_heads=1, ff_width=128,
                      max_length=256)  # fmt: skip


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BLD: Tensor) -> Tensor:
        x32_BLD = x_BLD.float()
        scale_BL1 = torch.rsqrt(x32_BLD.square().mean(-1, keepdim=True) + self.eps)
        return (x32_BLD * scale_BL1).to(x_BLD.dtype) * self.weight


def rotary(config: NetConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each [L, H]; both halves of a head hold the same angles."""
    half = torch.arange(0, config.head_width, 2).float() / config.head_width
    angle_LH = torch.outer(torch.arange(config.max_length).float(), config.rope_theta**-half)
    angle_LH = torch.cat([angle_LH, angle_LH], dim=-1)
    return angle_LH.cos(), angle_LH.sin()


def rotate(x_BNLH: Tensor, cos_LH: Tensor, sin_LH: Tensor) -> Tensor:
    first, second = x_BNLH.chunk(2, dim=-1)
    turned_BNLH = torch.cat([-second, first], dim=-1)
    return (x_BNLH * cos_LH + turned_BNLH * sin_LH).to(x_BNLH.dtype)


class Attention(nn.Module):
    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        kv_width = config.kv_heads * config.head_width
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, kv_width, bias=False)
        self.v_proj = nn.Linear(config.width, kv_width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_BLD: Tensor, cos_LH: Tensor, sin_LH: Tensor) -> Tensor:
        B, L, D = x_BLD.shape
        H = self.config.head_width
        q_BNLH = self.q_proj(x_BLD).view(B, L, -1, H).transpose(1, 2)
        k_BKLH = self.k_proj(x_BLD).view(B, L, -1, H).transpose(1, 2)
        v_BKLH = self.v_proj(x_BLD).view(B, L, -1, H).transpose(1, 2)
        y_BNLH = F.scaled_dot_product_attention(
            rotate(q_BNLH, cos_LH, sin_LH), rotate(k_BKLH, cos_LH, sin_LH), v_BKLH,
            is_causal=True, enable_gqa=True,
        )  # fmt: skip
        y_BLD: Tensor = self.o_proj(y_BNLH.transpose(1, 2).reshape(B, L, D))
        return y_BLD


class FeedForward(nn.Module):
    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ff_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.ff_width, bias=False)
        self.down_proj = nn.Linear(config.ff_width, config.width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        y_BLD: Tensor = self.down_proj(F.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD))
        return y_BLD


class Block(nn.Module):
    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x_BLD: Tensor, cos_LH: Tensor, sin_LH: Tensor) -> Tensor:
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), cos_LH, sin_LH)
        y_BLD: Tensor = x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))
        return y_BLD


class Rill(nn.Module):
    """The module names are Llama's, so `state_dict` needs only the prefix `model.` to be its."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        cos_LH, sin_LH = rotary(config)
        self.register_buffer("cos_LH", cos_LH, persistent=False)
        self.register_buffer("sin_LH", sin_LH, persistent=False)

    def init_weights(self) -> None:
        """GPT-2's scheme: 0.02, and less where a layer writes into the residual stream."""
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                shrink = (2 * self.config.layers) ** 0.5 if into_residual else 1.0
                nn.init.normal_(weight, std=0.02 / shrink)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Logits [B, L, V]."""
        L = ids_BL.shape[1]
        x_BLD = self.embed_tokens(ids_BL)
        cos_LH, sin_LH = self.get_buffer("cos_LH")[:L], self.get_buffer("sin_LH")[:L]
        for layer in self.layers:
            x_BLD = layer(x_BLD, cos_LH, sin_LH)
        return F.linear(self.norm(x_BLD), self.embed_tokens.weight)

    def parameter_count(self) -> int:
        return sum(weight.numel() for weight in self.parameters())


def llama_config(config: NetConfig, *, bos: int, eos: int, pad: int) -> dict[str, Any]:
    """`config.json` as transformers and vLLM read it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.ff_width,
        "max_position_embeddings": config.max_length,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "dtype": "bfloat16",
    }


def save_weights(net: Rill, path: Path) -> None:
    """Write the weights as bfloat16 under Llama's names."""
    weights = {
        f"model.{name}": weight.detach().to("cpu", torch.bfloat16).contiguous()
        for name, weight in net.state_dict().items()
    }
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes it readable for its owner alone


def load_net(folder: Path) -> Rill:
    """The network of a folder that `save_weights` and `llama_config` wrote, in float32, on CPU."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    net = Rill(
        NetConfig(
            vocab=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            ff_width=config["intermediate_size"],
            max_length=config["max_position_embeddings"],
            rope_theta=config["rope_theta"],
            norm_eps=config["rms_norm_eps"],
        )
    )
    weights = load_file(folder / "model.safetensors")
    net.load_state_dict({name.removeprefix("model."): w.float() for name, w in weights.items()})
    return net.eval()
