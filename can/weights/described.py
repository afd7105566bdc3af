"""What the files beside public weights say of their model: transformers' and timm's `config.json`, the preprocessor's.

What shapes of weights do not tell is said there: heads, the epsilon and the activation, how tokens are pooled, and how
pixels are normalised.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from can.errors import ConfigError, check_choice

# transformers' names of plain ViTs, and how each one's features are pooled; SigLIP's attention pooling is not built.
_TRANSFORMERS = {
    "vit": "cls",
    "vit_msn": "cls",
    "vit_mae": "mean",
    "deit": "cls",
    "dinov2": "cls",
    "dinov2_with_registers": "cls",
    "clip": "cls",
    "clip_vision_model": "cls",
    "siglip": "mean",
    "siglip_vision_model": "mean",
}
_ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
_TIMM_POOLS = {"token": "cls", "avg": "mean"}


@dataclass(frozen=True)
class Described:
    """What is known of a model beside its weights; None: not said."""

    heads: int | None = None
    eps: float | None = None
    activation: str | None = None
    image_size: int | None = None
    pool: str | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None

    def but(self, **given: Any) -> Described:
        """With those of `given` that are not None."""
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})


def read_described(file: Path) -> Described:
    """What `config.json` and `preprocessor_config.json` beside a file of weights say.

    Raises ConfigError for a model that is no plain ViT, and for what our encoder does not have.
    """
    beside = {name: _read(file.with_name(name)) for name in ("config.json", "preprocessor_config.json")}
    config, pixels = beside["config.json"], beside["preprocessor_config.json"]
    found = _of_timm(config) if "architecture" in config else _of_transformers(config)
    size = pixels.get("crop_size") if pixels.get("do_center_crop") else pixels.get("size")
    side = (size.get("height") or size.get("shortest_edge")) if isinstance(size, Mapping) else size
    return found.but(
        pixel_mean=_numbers(pixels.get("image_mean")),
        pixel_std=_numbers(pixels.get("image_std")),
        image_size=side if found.image_size is None else None,
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}): fetch it again, or remove it") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no names with values: fetch it again, or remove it")
    return values


def _of_transformers(config: Mapping[str, Any]) -> Described:
    if not config:
        return Described()
    kind = config.get("model_type")
    if kind is not None and kind not in _TRANSFORMERS:
        raise ConfigError(
            f"config.json says that the model is a {kind}: only plain ViTs can be loaded ({', '.join(_TRANSFORMERS)})"
        )
    vision = config.get("vision_config", config)
    if vision.get("use_swiglu_ffn"):
        raise ConfigError("the model has SwiGLU layers (use_swiglu_ffn in its config.json), which our encoder has not")
    activation = vision.get("hidden_act")
    if activation is not None:
        check_choice("hidden_act in config.json", activation, _ACTIVATIONS)
    return Described(
        heads=vision.get("num_attention_heads"),
        eps=vision.get("layer_norm_eps", 1e-5 if str(kind).startswith("clip") else None),
        activation=_ACTIVATIONS.get(activation) if activation else None,
        image_size=vision.get("image_size"),
        pool=_TRANSFORMERS.get(str(kind)),
    )


def _of_timm(config: Mapping[str, Any]) -> Described:
    trained = config.get("pretrained_cfg", config)
    name, arguments = str(config["architecture"]), config.get("model_args", {})
    pool = arguments.get("global_pool", config.get("global_pool"))
    clip = "_clip_" in name or arguments.get("norm_layer") == "layernorm"
    return Described(
        heads=arguments.get("num_heads"),
        eps=1e-5 if clip else None,
        activation="quick_gelu" if "quickgelu" in name else arguments.get("act_layer"),
        image_size=arguments.get("img_size") or (trained.get("input_size") or [None])[-1],
        pool=_TIMM_POOLS.get(str(pool)),
        pixel_mean=_numbers(trained.get("mean")),
        pixel_std=_numbers(trained.get("std")),
    )


def _numbers(values: Any) -> tuple[float, ...] | None:
    return tuple(map(float, values)) if isinstance(values, list | tuple) and values else None
