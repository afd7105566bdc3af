"""Weights that others trained, He et al.'s above all, as our encoder or our MAE: to compare with or to start from.

They come in the names of He et al., timm or transformers (`can.weights.names`), as tensors, arrays or a file.
"""

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
from can.models import PublicViTConfig, ViT, encoder_of
from can.models.positions import sincos_positions
from can.models.transformer import LAYER_NORM_EPS
from can.weights.described import Described
from can.weights.names import Arrays, of, renamed
from can.weights.public import check_kind, check_known, encoder_config, plain

_IN_BLOCK = {"attention_out": "attn.proj", "mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2", "qkv": "attn.qkv"}


def encoder_from(weights: Mapping[str, Any], described: Described | None = None) -> ViT:
    """Our encoder with others' weights; a decoder or a classifier among them is left out.

    Weights with He et al.'s fixed positions, epsilon, activation and pixels make our own `ViT`, others a `PublicViT`.

    Args:
      weights: tensors or arrays of any float type, in one of the known naming schemes.
      described: what is known beside the weights. What is not said is what is usual: heads by the width, an epsilon of
        1e-6, the exact GELU, the mean of the patch tokens, ImageNet's mean and deviation; and `image_size` is that of
        the positions, or 224 where they have none.

    Raises ConfigError if a weight is missing, unknown or of another shape, or the model is no plain ViT.
    """
    arrays = renamed(weights)
    check_kind(arrays)
    config = encoder_config(arrays, described or Described())
    check_known(arrays)
    if isinstance(config, PublicViTConfig):
        arrays = plain(arrays, config)
    return filled(lambda: encoder_of(config, rngs=nnx.Rngs(0)), lambda names: _encoder(names, arrays, config))


def mae_config(config: Any) -> tuple[ModelConfig, MAESettings]:
    """Our configuration of the model that a `transformers.ViTMAEConfig` describes.

    It has a cls token, and [M] in the decoder's width, as He et al. have; CAN has neither. Raises ConfigError for
    what our encoder does not have (another activation, another epsilon, no bias on queries, keys and values).
    """
    if config.hidden_act != "gelu" or not config.qkv_bias or config.num_channels != 3:
        raise ConfigError("only ViTMAE models with the exact GELU, qkv biases and three channels can be converted")
    _check_eps(config.layer_norm_eps)
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


def mae_from(config: Any, weights: Mapping[str, Any]) -> MAE:
    """MAE, encoder and decoder, with others' weights.

    Args:
      config: a `transformers.ViTMAEConfig`, whose layer-norm epsilon must be 1e-6, or our own `ModelConfig` and
        `MAESettings`.
      weights: as of `encoder_from`: a `state_dict()` of `transformers.ViTMAEForPreTraining`, or He et al.'s own.

    Raises:
      ConfigError: the weights lack a parameter, one is of another shape, or the positions are not He et al.'s (a model
        that transformers 5 initialises itself, rather than loads, encodes the row first, they the column).
    """
    model, settings = config if isinstance(config, tuple) else mae_config(config)
    arrays = renamed(weights)
    for name, where in (("pos_embed", "encoder"), ("decoder_pos_embed", "decoder")):
        _check_positions(of(arrays, name), model.cls_token, where)

    def value(names: tuple[str, ...]) -> np.ndarray:
        inner = names[1:]
        return _encoder(inner, arrays, model) if names[0] == "encoder" else _decoder(inner, arrays, model)

    return filled(lambda: MAE(model, settings, rngs=nnx.Rngs(0)), value)


def _check_eps(eps: float | None) -> None:
    if eps is not None and not math.isclose(eps, LAYER_NORM_EPS, rel_tol=1e-3):
        raise ConfigError(
            f"layer_norm_eps is {eps:g}, our layer norms have {LAYER_NORM_EPS:g}: if the weights were trained with "
            "that, as He et al.'s were whatever transformers' file says, set it to 1e-6"
        )


def _check_positions(table: np.ndarray, cls_token: bool, where: str) -> int:
    """The side of the grid. He et al.'s checkpoints carry fixed positions: a zero for the cls token, then ours."""
    tokens = table.shape[1] - cls_token if table.ndim == 3 and table.shape[0] == 1 else 0
    grid = math.isqrt(max(tokens, 0))
    if not tokens or grid**2 != tokens or table.shape[2] % 4:
        raise ConfigError(f"the {where}'s positions have the shape {table.shape}, which is no square of patches")
    ours = sincos_positions(grid, table.shape[2])
    expected = np.concatenate([np.zeros_like(ours[:1]), ours]) if cls_token else ours
    if not np.allclose(table[0], expected, atol=4e-3):  # bfloat16 keeps eight bits
        raise ConfigError(f"the {where}'s fixed positions are not the sin-cos table of He et al., column before row")
    return grid


def filled(make: Callable[[], Any], value_of: Callable[[tuple[str, ...]], np.ndarray]) -> Any:
    """A module that is never initialised, with the values of each parameter's path.

    Raises ConfigError for a value of another shape.
    """
    graphdef, params = nnx.split(nnx.eval_shape(make))
    filled = {}
    for path, variable in dict(nnx.to_flat_state(params)).items():
        names = tuple(str(part) for part in path)
        value = value_of(names)
        if value.shape != variable.shape:
            raise ConfigError(f"{'.'.join(names)} has the shape {value.shape}, the model needs {variable.shape}")
        filled[path] = variable.replace(jnp.asarray(value, jnp.float32))
    return nnx.merge(graphdef, nnx.from_flat_state(filled))


def _encoder(names: tuple[str, ...], arrays: Arrays, config: ModelConfig) -> np.ndarray:
    match names:
        case ("cls_token",):
            return arrays["prefix"] if "prefix" in arrays else of(arrays, "cls_token").reshape(-1)
        case ("positions",):
            return of(arrays, "positions")
        case ("pre_norm", kind):
            return of(arrays, f"norm_pre.{_norm(kind)}")
        case ("patch_embed", "kernel"):  # a convolution's [D, 3, p, p], on patches in (row, column, channel)
            kernel = of(arrays, "patch_embed.proj.weight")
            return kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
        case ("patch_embed", "bias"):
            return of(arrays, "patch_embed.proj.bias")
        case ("transformer", "norm", kind):
            return of(arrays, f"norm.{_norm(kind)}")
        case ("transformer", "blocks", module, kind):
            return _stacked("blocks", config.depth, module, kind, arrays)
    raise ConfigError(f"no weight is known for {'.'.join(names)}")


def _decoder(names: tuple[str, ...], arrays: Arrays, config: ModelConfig) -> np.ndarray:
    match names:
        case ("mask_token",):
            return of(arrays, "mask_token").reshape(-1)
        case ("embed", kind):
            return _linear("decoder_embed", kind, arrays)
        case ("predict", kind):
            return _linear("decoder_pred", kind, arrays)
        case ("transformer", "norm", kind):
            return of(arrays, f"decoder_norm.{_norm(kind)}")
        case ("transformer", "blocks", module, kind):
            return _stacked("decoder_blocks", config.decoder_depth, module, kind, arrays)
    raise ConfigError(f"no weight is known for decoder.{'.'.join(names)}")


def _stacked(prefix: str, depth: int, module: str, kind: str, arrays: Arrays) -> np.ndarray:
    """One parameter of all blocks, `[depth, ...]`."""
    layers = [_in_block(f"{prefix}.{layer}", module, kind, arrays) for layer in range(depth)]
    if len(shapes := {layer.shape for layer in layers}) > 1:
        raise ConfigError(f"the {prefix} differ in the shape of {module}'s {kind}: {', '.join(map(str, shapes))}")
    return np.stack(layers)


def _in_block(prefix: str, module: str, kind: str, arrays: Arrays) -> np.ndarray:
    if module not in _IN_BLOCK:
        return of(arrays, f"{prefix}.{module}.{_norm(kind)}")
    if (module, kind) == ("mlp_out", "kernel"):  # [out, in] here as there
        return of(arrays, f"{prefix}.{_IN_BLOCK[module]}.weight")
    return _linear(f"{prefix}.{_IN_BLOCK[module]}", kind, arrays)


def _linear(prefix: str, kind: str, arrays: Arrays) -> np.ndarray:
    return of(arrays, f"{prefix}.weight").T if kind == "kernel" else of(arrays, f"{prefix}.bias")


def _norm(kind: str) -> str:
    return {"scale": "weight", "bias": "bias"}[kind]
