"""What kind of ViT some weights are of, and public weights brought to the parts that `PublicViT` has."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from can.augment import IMAGENET_MEAN, IMAGENET_STD
from can.config import ModelConfig
from can.errors import ConfigError
from can.models import PublicViTConfig
from can.models.positions import sincos_positions
from can.models.transformer import LAYER_NORM_EPS
from can.models.vit import SIZES
from can.weights.described import Described
from can.weights.names import Arrays, of

# By the width of the tokens; shapes do not tell the number of heads.
_HEADS = {fields["width"]: fields["heads"] for size, fields in SIZES.items() if size in ("Ti", "S", "B", "L")} | {
    1280: 16,  # ViT-H
    1152: 16,  # SigLIP's shape-optimised ViT
}
_PREFIX = ("cls_token", "dist_token", "reg_token")  # in the order in which they stand before the patches
# Of a classifier, a text tower or a decoder that is not asked for, and of SigLIP's attention pooling.
_UNUSED = re.compile(
    r"(head|head_dist|fc|classifier|pooler|attn_pool|decoder_\w+|decoder|unused_\w+|mask_token|visual_projection|text_\w+"
    r"|logit_\w+|last_layer|predictor|projector)(\.|$)"
)
_OTHER_MODELS = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (r"relative_position|rel_pos", "relative positions"),
        (r"rope|rotary|freqs_cis", "rotary positions"),
        (r"mlp\.(w12|w3|weights_in|fc1_g|fc1_x|gate_proj)", "SwiGLU layers"),
        (r"(q_norm|k_norm)\.", "norms of queries and keys"),
        (r"^(layers|blocks)\.\d+\.(blocks|downsample)\.", "windows and stages"),
        (r"(^|\.)(stages|downsample)\w*\.", "windows and stages"),
    )
)


def check_kind(arrays: Arrays) -> None:
    """Raises ConfigError, with what it is in a word, if renamed weights are of a known other kind of model."""
    for pattern, what in _OTHER_MODELS:
        if name := next(filter(pattern.search, arrays), None):
            raise ConfigError(f"the weights have {name}: {what}, which our encoder has not; a plain ViT can be loaded")


def check_known(arrays: Arrays) -> None:
    """Raises ConfigError if a plain ViT has no place for some of the renamed weights."""
    unknown = [name for name in arrays if not _is_known(name)]
    if unknown:
        raise ConfigError(
            f"the weights have {unknown[0]}{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}, which our "
            "encoder has no place for: only a plain ViT can be loaded"
        )


def encoder_config(arrays: Arrays, described: Described) -> ModelConfig:
    """The model that renamed weights are of. Raises ConfigError if they do not tell."""
    kernel, hidden = of(arrays, "patch_embed.proj.weight"), of(arrays, "blocks.0.mlp.fc1.weight")
    if kernel.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[2] != kernel.shape[3]:
        raise ConfigError(f"patch_embed.proj.weight has the shape {kernel.shape}, not [width, 3, patch, patch]")
    width, patch = kernel.shape[0], kernel.shape[2]
    depth = 1 + max(int(name.split(".")[1]) for name in arrays if re.match(r"blocks\.\d+\.", name))
    if (heads := described.heads or _HEADS.get(width)) is None:
        raise ConfigError(f"how many attention heads a ViT of width {width} has is not known: pass --attention_heads")
    sizes = dict(width=width, depth=depth, heads=heads, mlp_dim=hidden.shape[0], patch_size=patch)
    prefix = _prefix_tokens(arrays)
    grid = _grid(arrays["pos_embed"], prefix) if "pos_embed" in arrays else None
    common: dict[str, Any] = dict(cls_token=prefix > 0, mask_token="decoder", **sizes)
    common["image_size"] = grid * patch if grid else described.image_size or 224
    if _is_ours(arrays, described, prefix):
        common["image_size"] = described.image_size or common["image_size"]  # fixed positions are of any size
        size = next((name for name, fields in SIZES.items() if sizes.items() <= fields.items()), "foreign")
        return ModelConfig(size=size, **common)
    pixels = {name: value for name in ("pixel_mean", "pixel_std") if (value := getattr(described, name)) is not None}
    return PublicViTConfig(
        size="public",
        eps=described.eps or LAYER_NORM_EPS,
        activation=described.activation or "gelu",
        prefix_tokens=prefix,
        pre_norm="norm_pre.weight" in arrays,
        norm="pooled" if "fc_norm.weight" in arrays and "norm.weight" not in arrays else "tokens",
        pool=described.pool or "mean",
        **pixels,
        **common,
    )


def _is_ours(arrays: Arrays, described: Described, prefix: int) -> bool:
    """Whether our own encoder gives these weights' features: He et al.'s, or ours."""
    own: dict[str, Any] = dict(
        eps=LAYER_NORM_EPS, activation="gelu", pool="mean", pixel_mean=IMAGENET_MEAN, pixel_std=IMAGENET_STD
    )
    for name, usual in own.items():
        value = getattr(described, name)
        if value is not None and not (math.isclose(value, usual, rel_tol=1e-3) if name == "eps" else value == usual):
            return False
    if prefix > 1 or any(re.search(r"(ls[12]\.gamma|norm_pre\.|fc_norm\.)", name) for name in arrays):
        return False
    if "patch_embed.proj.bias" not in arrays or "blocks.0.attn.qkv.bias" not in arrays:
        return False
    return "pos_embed" not in arrays or _has_sincos_positions(arrays["pos_embed"], prefix)


def plain(arrays: Arrays, config: PublicViTConfig) -> Arrays:
    """Public weights with the parts that `PublicViT` has: scales and positions are in what they act on.

    Beside He et al.'s names it has `positions` [T, D] of the patches and `prefix` [tokens, D] of what stands before
    them. A layer's scale is in the weights of that layer; a missing bias is 0.
    """
    made = dict(arrays)
    prefix = [arrays[name].reshape(-1, config.width) for name in _PREFIX if name in arrays]
    tokens = np.concatenate(prefix) if prefix else np.zeros((0, config.width), np.float32)
    table = of(arrays, "pos_embed").reshape(-1, config.width)
    placed = len(table) - config.num_patches  # of the tokens before the patches, the first ones have positions
    tokens[:placed] += table[:placed]
    made |= {"positions": table[placed:], "prefix": tokens}
    made.setdefault("patch_embed.proj.bias", np.zeros(config.width, np.float32))
    if config.norm == "pooled":
        made |= {f"norm.{kind}": arrays[f"fc_norm.{kind}"] for kind in ("weight", "bias")}
    for block in (f"blocks.{layer}" for layer in range(config.depth)):
        made.setdefault(f"{block}.attn.qkv.bias", np.zeros(3 * config.width, np.float32))
        for scale, layer in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            if (gamma := arrays.get(f"{block}.{scale}.gamma")) is not None:
                made[f"{block}.{layer}.weight"] = gamma[:, None] * of(arrays, f"{block}.{layer}.weight")
                made[f"{block}.{layer}.bias"] = gamma * of(arrays, f"{block}.{layer}.bias")
    return made


def _prefix_tokens(arrays: Arrays) -> int:
    """How many tokens stand before the patches."""
    return sum(math.prod(arrays[name].shape[:-1]) for name in _PREFIX if name in arrays)


def _grid(table: np.ndarray, prefix: int) -> int:
    """The side of the grid of patches that has positions; all of the tokens before them, the first or none have one."""
    count = table.shape[-2] if table.ndim >= 2 else 0
    for placed in (prefix, 1, 0):
        if placed <= prefix and count > placed and math.isqrt(count - placed) ** 2 == count - placed:
            return math.isqrt(count - placed)
    raise ConfigError(f"the encoder's positions have the shape {table.shape}, which is no square of patches")


def _has_sincos_positions(table: np.ndarray, prefix: int) -> bool:
    """Whether the positions are He et al.'s fixed ones: a zero for the cls token, then ours."""
    if table.shape[-1] % 4 or table.ndim != 3 or table.shape[1] != _grid(table, prefix) ** 2 + prefix:
        return False
    ours = sincos_positions(_grid(table, prefix), table.shape[-1])
    expected = np.concatenate([np.zeros_like(ours[:prefix]), ours])
    return np.allclose(table[0], expected, atol=4e-3)  # bfloat16 keeps eight bits


def _is_known(name: str) -> bool:
    fixed = r"(cls_token|dist_token|reg_token|pos_embed|(patch_embed\.proj|norm|norm_pre|fc_norm)\.(weight|bias))"
    block = r"blocks\.\d+\.((norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)|ls[12]\.gamma)"
    return re.fullmatch(f"{fixed}|{block}", name) is not None or _UNUSED.match(name) is not None
