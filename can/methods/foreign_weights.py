"""Weights that others trained, He et al.'s above all, as our encoder or our MAE: to compare with or to start from.

They come in the names of He et al., timm or transformers (`can.models.weight_names`), as tensors, arrays or a file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from can.config import ModelConfig
from can.errors import ConfigError, first_line
from can.methods.mae import MAE, MAESettings
from can.models import ViT
from can.models.positions import sincos_positions
from can.models.transformer import LAYER_NORM_EPS
from can.models.vit import SIZES
from can.models.weight_names import Arrays, renamed

# By the width of the tokens; shapes do not tell the number of heads.
_HEADS = {fields["width"]: fields["heads"] for size, fields in SIZES.items() if size in ("Ti", "S", "B", "L")} | {
    1280: 16  # ViT-H
}
# Of a classifier or a decoder that is not asked for.
_UNUSED = re.compile(r"(head|fc|classifier|pooler|decoder_\w+|decoder|unused_mask_token|mask_token)(\.|$)")
_IN_BLOCK = {"attention_out": "attn.proj", "mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2", "qkv": "attn.qkv"}


def encoder_from(
    weights: Mapping[str, Any], *, heads: int | None = None, eps: float | None = None, image_size: int | None = None
) -> ViT:
    """Our encoder with others' weights; a decoder or a classifier among them is left out.

    Args:
      weights: tensors or arrays of any float type, in one of the known naming schemes.
      heads: of the attention; None takes what is usual for the width.
      eps: of the layer norms, where it is known; ours have 1e-6, as He et al.'s and timm's have.
      image_size: pixels; None takes that of the weights' positions, or 224 where they have none.

    Raises:
      ConfigError: a weight is missing, unknown or of another shape, the positions are not He et al.'s fixed ones, or
        `eps` is another.
    """
    _check_eps(eps)
    arrays = renamed(weights)
    config = encoder_config(arrays, heads, image_size)
    unknown = [name for name in arrays if not _is_known(name)]
    if unknown:
        raise ConfigError(
            f"the weights have {unknown[0]}{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}, which our "
            "encoder has no place for: only a plain ViT can be loaded"
        )
    return _filled(lambda: ViT(config, rngs=nnx.Rngs(0)), lambda names: _encoder(names, arrays, config))


def encoder_config(arrays: Arrays, heads: int | None = None, image_size: int | None = None) -> ModelConfig:
    """The model that renamed weights are of. Raises ConfigError if they do not tell."""
    kernel, hidden = _of(arrays, "patch_embed.proj.weight"), _of(arrays, "blocks.0.mlp.fc1.weight")
    if kernel.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[2] != kernel.shape[3]:
        raise ConfigError(f"patch_embed.proj.weight has the shape {kernel.shape}, not [width, 3, patch, patch]")
    width, patch = kernel.shape[0], kernel.shape[2]
    depth = 1 + max(int(name.split(".")[1]) for name in arrays if re.match(r"blocks\.\d+\.", name))
    if (heads := heads or _HEADS.get(width)) is None:
        raise ConfigError(f"how many attention heads a ViT of width {width} has is not known: pass `heads`")
    cls_token = "cls_token" in arrays
    if "pos_embed" in arrays:
        grid = _check_positions(arrays["pos_embed"], cls_token, "encoder")
        image_size = image_size or grid * patch
    config = dict(width=width, depth=depth, heads=heads, mlp_dim=hidden.shape[0], patch_size=patch)
    size = next((name for name, fields in SIZES.items() if config.items() <= fields.items()), "foreign")
    return ModelConfig(size=size, image_size=image_size or 224, cls_token=cls_token, mask_token="decoder", **config)


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
        _check_positions(_of(arrays, name), model.cls_token, where)

    def value(names: tuple[str, ...]) -> np.ndarray:
        inner = names[1:]
        return _encoder(inner, arrays, model) if names[0] == "encoder" else _decoder(inner, arrays, model)

    return _filled(lambda: MAE(model, settings, rngs=nnx.Rngs(0)), value)


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights in a file, and what the `config.json` beside it says of the model (nothing if there is none).

    Args:
      path: a .safetensors file, a folder of transformers that has one, or (with PyTorch) a .pth, .pt or .bin file.

    Raises:
      ConfigError: the file is missing, damaged, or of another kind.
    """
    config: dict[str, Any] = {}
    path = file_of(path)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}: pass a .safetensors file, or a folder with model.safetensors")
    try:
        beside = path.with_name("config.json")
        if beside.is_file():
            config = dict(json.loads(beside.read_text(encoding="utf-8")))
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="flax") as file:
                return {name: np.asarray(file.get_tensor(name)) for name in file.keys()}, config  # noqa: SIM118
        if path.suffix in (".pth", ".pt", ".bin"):
            return _read_by_torch(path), config
    except ConfigError:
        raise
    except Exception as error:  # the readers raise whatever they happen upon
        first = first_line(error)
        raise ConfigError(f"{path} cannot be read ({first}): fetch it again") from error
    raise ConfigError(f"{path} is neither a .safetensors nor a .pth, .pt or .bin file: convert it")


def file_of(path: Path) -> Path:
    """The file itself, or the one in a folder of transformers."""
    return path / "model.safetensors" if path.is_dir() else path


def heads_and_eps(config: Mapping[str, Any]) -> tuple[int | None, float | None]:
    """Attention heads and epsilon that a `config.json` of transformers states; None for what it does not."""
    return config.get("num_attention_heads"), config.get("layer_norm_eps")


def _read_by_torch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise ConfigError(
            f"{path} needs PyTorch to be read: pip install torch, or convert it to .safetensors"
        ) from error
    values = torch.load(path, map_location="cpu", weights_only=True)
    for outer in ("model", "state_dict", "teacher"):
        if isinstance(values, dict) and isinstance(values.get(outer), dict):
            values = values[outer]
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no weights by name")
    return values


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


def _is_known(name: str) -> bool:
    fixed = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias")
    block = r"blocks\.\d+\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)"
    return name in fixed or re.fullmatch(block, name) is not None or _UNUSED.match(name) is not None


def _filled(make: Callable[[], Any], value_of: Callable[[tuple[str, ...]], np.ndarray]) -> Any:
    """A module that is never initialised, with the values of each parameter's path."""
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
            return _of(arrays, "cls_token").reshape(-1)
        case ("patch_embed", "kernel"):  # a convolution's [D, 3, p, p], on patches in (row, column, channel)
            kernel = _of(arrays, "patch_embed.proj.weight")
            return kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
        case ("patch_embed", "bias"):
            return _of(arrays, "patch_embed.proj.bias")
        case ("transformer", "norm", kind):
            return _of(arrays, f"norm.{_norm(kind)}")
        case ("transformer", "blocks", module, kind):
            return _stacked("blocks", config.depth, module, kind, arrays)
    raise ConfigError(f"no weight is known for {'.'.join(names)}")


def _decoder(names: tuple[str, ...], arrays: Arrays, config: ModelConfig) -> np.ndarray:
    match names:
        case ("mask_token",):
            return _of(arrays, "mask_token").reshape(-1)
        case ("embed", kind):
            return _linear("decoder_embed", kind, arrays)
        case ("predict", kind):
            return _linear("decoder_pred", kind, arrays)
        case ("transformer", "norm", kind):
            return _of(arrays, f"decoder_norm.{_norm(kind)}")
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
        return _of(arrays, f"{prefix}.{module}.{_norm(kind)}")
    if (module, kind) == ("mlp_out", "kernel"):  # [out, in] here as there
        return _of(arrays, f"{prefix}.{_IN_BLOCK[module]}.weight")
    return _linear(f"{prefix}.{_IN_BLOCK[module]}", kind, arrays)


def _linear(prefix: str, kind: str, arrays: Arrays) -> np.ndarray:
    return _of(arrays, f"{prefix}.weight").T if kind == "kernel" else _of(arrays, f"{prefix}.bias")


def _norm(kind: str) -> str:
    return {"scale": "weight", "bias": "bias"}[kind]


def _of(arrays: Arrays, name: str) -> np.ndarray:
    if name not in arrays:
        near = ", ".join(list(arrays)[:3])
        raise ConfigError(f"the weights lack {name}, as He et al. call it (there are: {near}, ...)")
    return arrays[name]
