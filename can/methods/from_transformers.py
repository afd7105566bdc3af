"""Weights of `transformers`' ViTMAE (He et al.'s published checkpoints) as ours, to compare with or to start from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from can.config import ModelConfig
from can.errors import ConfigError
from can.methods.mae import MAE, MAESettings
from can.models.positions import sincos_positions


def mae_config(config: Any) -> tuple[ModelConfig, MAESettings]:
    """Our configuration of the model that a `transformers.ViTMAEConfig` describes.

    It has a cls token, and [M] in the decoder's width, as He et al. have; CAN has neither. Raises ConfigError for
    what our encoder does not have (another activation, no bias on queries, keys and values).
    """
    if config.hidden_act != "gelu" or not config.qkv_bias or config.num_channels != 3:
        raise ConfigError("only ViTMAE models with the exact GELU, qkv biases and three channels can be converted")
    model = ModelConfig(
        size="transformers",
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        mlp_dim=config.intermediate_size,
        decoder_width=config.decoder_hidden_size,
        decoder_depth=config.decoder_num_hidden_layers,
        decoder_heads=config.decoder_num_attention_heads,
        decoder_mlp_dim=config.decoder_intermediate_size,
        cls_token=True,
        mask_token="decoder",
    )
    return model, MAESettings(mask_rate=config.mask_ratio, norm_pix=config.norm_pix_loss)


def mae_from_transformers(config: Any, weights: Mapping[str, Any]) -> MAE:
    """MAE with the weights of a `transformers.ViTMAEForPreTraining`.

    Args:
      config: the model's `transformers.ViTMAEConfig`; its layer-norm epsilon must be 1e-6, He et al.'s, to get the
        same numbers (transformers' default, 1e-12, differs from the checkpoints' training).
      weights: its `state_dict()`, tensors or arrays, with the names of transformers 5.

    Raises:
      ConfigError: the weights lack a parameter, one is of another shape, or the positions are not He et al.'s (a model
        that transformers 5 initialises itself, rather than loads, encodes the row first, they the column).
    """
    method = nnx.eval_shape(lambda: MAE(*mae_config(config), rngs=nnx.Rngs(0)))
    graphdef, params = nnx.split(method)
    arrays = {name: np.asarray(weight) for name, weight in weights.items()}
    _check_positions(arrays["vit.embeddings.position_embeddings"], "encoder")
    _check_positions(arrays["decoder.decoder_pos_embed"], "decoder")
    values = dict(nnx.to_flat_state(params))
    converted = {}
    for path, variable in values.items():
        names = tuple(str(part) for part in path)
        try:
            value = _SOURCES[names[0]](names[1:], arrays, config)
        except KeyError as error:
            raise ConfigError(f"the weights lack {error}, which {'.'.join(names)} is made of") from error
        if value.shape != variable.shape:
            raise ConfigError(f"{'.'.join(names)} has the shape {value.shape}, the model needs {variable.shape}")
        converted[path] = variable.replace(jnp.asarray(value, jnp.float32))
    return nnx.merge(graphdef, nnx.from_flat_state(converted))


def _check_positions(table: np.ndarray, where: str) -> None:
    """He et al.'s checkpoints carry their fixed positions: a zero for the cls token, then ours."""
    ours = sincos_positions(math.isqrt(table.shape[1] - 1), table.shape[2])
    if not np.allclose(table[0], np.concatenate([np.zeros_like(ours[:1]), ours]), atol=1e-4):
        raise ConfigError(f"the {where}'s fixed positions are not the sin-cos table of He et al., column before row")


def _encoder(names: tuple[str, ...], arrays: Mapping[str, np.ndarray], config: Any) -> np.ndarray:
    match names:
        case ("cls_token",):
            return arrays["vit.embeddings.cls_token"].reshape(-1)
        case ("patch_embed", "kernel"):  # a convolution's [D, 3, p, p], on patches in (row, column, channel)
            kernel = arrays["vit.embeddings.patch_embeddings.projection.weight"]
            return kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
        case ("patch_embed", "bias"):
            return arrays["vit.embeddings.patch_embeddings.projection.bias"]
        case ("transformer", "norm", kind):
            return arrays[f"vit.layernorm.{_norm(kind)}"]
        case ("transformer", "blocks", *rest):
            return _stacked("vit.layers", config.num_hidden_layers, tuple(rest), arrays)
    raise KeyError(".".join(names))


def _decoder(names: tuple[str, ...], arrays: Mapping[str, np.ndarray], config: Any) -> np.ndarray:
    match names:
        case ("mask_token",):
            return arrays["decoder.mask_token"].reshape(-1)
        case ("embed", kind):
            return _linear("decoder.decoder_embed", kind, arrays)
        case ("predict", kind):
            return _linear("decoder.decoder_pred", kind, arrays)
        case ("transformer", "norm", kind):
            return arrays[f"decoder.decoder_norm.{_norm(kind)}"]
        case ("transformer", "blocks", *rest):
            return _stacked("decoder.decoder_layers", config.decoder_num_hidden_layers, tuple(rest), arrays)
    raise KeyError(".".join(names))


_SOURCES: dict[str, Callable[..., np.ndarray]] = {"encoder": _encoder, "decoder": _decoder}
_DENSE = {
    "attention_out": "attention.o_proj",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
}
_NORMS = {"norm1": "layernorm_before", "norm2": "layernorm_after"}


def _stacked(prefix: str, depth: int, names: tuple[str, ...], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One parameter of all blocks, `[depth, ...]`."""
    module, kind = names
    return np.stack([_block(f"{prefix}.{layer}", module, kind, arrays) for layer in range(depth)])


def _block(prefix: str, module: str, kind: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if module in _NORMS:
        return arrays[f"{prefix}.{_NORMS[module]}.{_norm(kind)}"]
    if module == "qkv":
        parts = [_linear(f"{prefix}.attention.{part}_proj", kind, arrays) for part in "qkv"]
        return np.concatenate(parts, axis=-1)
    if (module, kind) == ("mlp_out", "kernel"):  # [out, in] here as there
        return arrays[f"{prefix}.{_DENSE[module]}.weight"]
    return _linear(f"{prefix}.{_DENSE[module]}", kind, arrays)


def _linear(prefix: str, kind: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return arrays[f"{prefix}.weight"].T if kind == "kernel" else arrays[f"{prefix}.bias"]


def _norm(kind: str) -> str:
    return {"scale": "weight", "bias": "bias"}[kind]
