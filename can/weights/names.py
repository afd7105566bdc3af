"""The names under which others keep a ViT's weights, brought to those of He et al. and timm.

Known are He et al.'s and timm's own (`blocks.0.attn.qkv.weight`), and both of transformers', up to version 4
(`vit.encoder.layer.0.attention.attention.query.weight`) and from 5 on (`vit.layers.0.attention.q_proj.weight`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from can.errors import ConfigError

Arrays = dict[str, np.ndarray]

_OUTER = re.compile(
    r"^(module|model|backbone|base_model|base_encoder|vit|deit|dinov2|dinov2_with_registers|vision_model|visual"
    r"|teacher|student)\."
)
_RENAMED = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^embeddings\.cls_token$", "cls_token"),
        (r"^embeddings\.mask_token$", "unused_mask_token"),  # of transformers' ViT, for another kind of pre-training
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^(encoder\.layers?|layers|layer)\.", "blocks."),
        (r"^layernorm\.", "norm."),
        (r"^decoder\.decoder_layers\.", "decoder_blocks."),
        (r"^decoder\.(mask_token|decoder_)", r"\1"),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.(?:attention\.)?(q|k|v)(?:uery|ey|alue|_proj)\.", r".attn.\1."),
        (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        # DeiT's and DINOv2's in transformers.
        (r"^embeddings\.distillation_token$", "dist_token"),
        (r"^embeddings\.register_tokens$", "reg_token"),
        (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
        # CLIP's and SigLIP's image towers in transformers.
        (r"^embeddings\.class_embedding$", "cls_token"),
        (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
        (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
        (r"^embeddings\.position_ids$", "unused_position_ids"),
        (r"^pre_layr?norm\.", "norm_pre."),
        (r"^post_layernorm\.", "norm."),
        (r"\.layer_norm([12])\.", r".norm\1."),
        (r"\.self_attn\.(q|k|v)_proj\.", r".attn.\1."),
        (r"\.self_attn\.out_proj\.", ".attn.proj."),
    )
]


def renamed(weights: Mapping[str, Any]) -> Arrays:
    """The weights as float32 arrays under He et al.'s names; queries, keys and values are one matrix.

    Args:
      weights: tensors or arrays of any float type, by name; prefixes such as `module.` are dropped.

    Raises ConfigError for what is no array of floats, for two weights of one name, and for queries, keys and values of
    different shapes.
    """
    arrays: Arrays = {}
    for name, weight in weights.items():
        if (new := _new_name(str(name))) in arrays:
            raise ConfigError(f"two of the weights are {new}: load one model at a time")
        arrays[new] = _as_float32(str(name), weight)
    for name in [name for name in arrays if re.search(r"\.attn\.q\.(weight|bias)$", name)]:
        parts = [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(part in arrays for part in parts):
            if len(shapes := {arrays[part].shape for part in parts}) > 1:
                raise ConfigError(f"{name} and its keys and values have different shapes: {sorted(shapes)}")
            arrays[name.replace(".attn.q.", ".attn.qkv.")] = np.concatenate([arrays.pop(part) for part in parts])
    return arrays


def _new_name(name: str) -> str:
    while _OUTER.match(name):
        name = _OUTER.sub("", name)
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return name


def _as_float32(name: str, weight: Any) -> np.ndarray:
    if hasattr(weight, "detach"):  # a tensor of PyTorch; numpy knows no bfloat16
        weight = weight.detach().cpu()
        weight = weight.float().numpy() if weight.is_floating_point() else weight.numpy()
    array = np.asarray(weight)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ConfigError(f"the weight {name} is of the type {array.dtype}, not of floating-point numbers")
    if array.ndim and not np.isfinite(array.astype(np.float32)).all():
        raise ConfigError(f"the weight {name} has values that are not finite")
    return array.astype(np.float32)


def of(arrays: Arrays, name: str) -> np.ndarray:
    """One of the weights. Raises ConfigError if it is missing."""
    if name not in arrays:
        near = ", ".join(list(arrays)[:3])
        raise ConfigError(f"the weights lack {name}, as He et al. call it (there are: {near}, ...)")
    return arrays[name]
