"""What a pass keeps for its way back: bytes a token and layer, as Hugging Face's Llama saves them.

After Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models" (34 bytes x width a
token of GPT's layer, and what attention keeps), counted anew for RMSNorm, gated feed-forward, grouped queries,
LoRA and attention that keeps no scores. tests/core/test_activations.py compares it, byte for byte, with the
tensors that autograd really saves.

    full, float32        norms 2 x (4D + 4D + 4D)    q, k, v and attention's output  4(2NH + 2KH)    feed-forward 16F
    full, 16 bit         norms 2 x (4D + 2D + 2D)                                    2(2NH + 2KH)                  8F
    full, autocast       norms 2 x (4D + 4D), and a 16-bit copy of its input for each linear: 2(5D)
    LoRA                 as above without what only the frozen weights' gradients need

D width, N heads, K key-value heads, H head width, F feed-forward width.
"""

from core.catalog.sizes import Shape, targeted
from core.training.setting import BYTES, Setting

# log-softmax's output, its gradient and the gradient of the logits, in float32, at the start of the way back.
_LOSS = 12
_SCALARS = 4  # float32: a norm's scale, a head's log-sum of attention


def autocast(setting: Setting) -> bool:
    """Whether weights are kept in another type than the passes run in: DeepSpeed converts the model itself."""
    return setting.dtype != "float32" and setting.zero_stage == 0


def layer(of: Shape, setting: Setting) -> int:
    """Bytes that one layer keeps of one token."""
    size = BYTES[setting.dtype]
    query, pair = of.heads * of.head_width, of.kv_heads * of.head_width
    kept_pair = query if setting.masked else pair
    kept = 2 * (4 * of.width + _SCALARS)  # what goes into each norm, in float32
    kept += size * (2 * query + 2 * kept_pair) + _SCALARS * of.heads
    kept += size * 3 * of.ff_width  # gate, its activation, up
    if of.head_norms:
        kept += 4 * (query + pair) + _SCALARS * (of.heads + of.kv_heads)
    if setting.masked:
        kept += size * setting.length  # the mask as attention wants it, once for each layer
    return kept + (_adapted(of, setting) if setting.tuning == "lora" else _trained(of, setting))


def _trained(of: Shape, setting: Setting) -> int:
    """What gradients of the weights themselves need: inputs of the linears, and the norms' before their weight."""
    size, wide = BYTES[setting.dtype], of.width
    inner = size * of.ff_width
    if of.head_norms:
        inner += size * (of.heads + of.kv_heads) * of.head_width
    if autocast(setting):
        return 2 * 4 * wide + size * 5 * wide + inner
    return 2 * 2 * size * wide + inner


def _adapted(of: Shape, setting: Setting) -> int:
    """What the adapters' gradients need: their inputs, and what they made of them."""
    size, inside = BYTES[setting.dtype], targeted(of, setting.lora_targets)
    ranks = size * setting.lora_rank * len(inside)
    if autocast(setting):
        return ranks + size * sum(inputs for inputs, _ in inside.values())
    # One tensor is the input of q, k and v; another of gate and up; attention's output is kept anyway.
    attended = bool({"q_proj", "k_proj", "v_proj"} & inside.keys())
    fed = bool({"gate_proj", "up_proj"} & inside.keys())
    inner = of.ff_width if "down_proj" in inside else 0
    return ranks + size * (of.width * (attended + fed) + inner)


def residual(of: Shape, setting: Setting) -> int:
    """Bytes of one token between layers: all that checkpointing keeps of a layer."""
    wide = autocast(setting) and setting.tuning == "full"
    return (4 if wide else BYTES[setting.dtype]) * of.width


def ends(of: Shape, setting: Setting) -> int:
    """The last norm's share, for one token."""
    size = BYTES[setting.dtype]
    return (4 + 2 * size) * of.width + _SCALARS


def loss(of: Shape) -> int:
    """Bytes of one token's scores over the vocabulary when the way back begins."""
    return _LOSS * of.vocab
