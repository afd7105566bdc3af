"""Our encoders in the forms that others read: our own safetensors, timm's folder, transformers' folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from can.augment import IMAGENET_MEAN, IMAGENET_STD
from can.errors import ConfigError, check_choice
from can.models import PublicViT, ViT
from can.models.positions import sincos_positions
from can.models.transformer import LAYER_NORM_EPS
from can.system.files import json_of, write_atomic
from can.weights.names import Arrays

FORMS = ("timm", "transformers", "safetensors")
OWN = "can"  # the entry of config.json that tells our own form
_TIMM_ACTIVATIONS = {"gelu": None, "gelu_tanh": "gelu_tanh", "quick_gelu": "quick_gelu"}
_TRANSFORMERS_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}


def export(encoder: ViT, form: str, folder: Path) -> None:
    """Writes `model.safetensors`, `config.json` and what else the form has into `folder`, which is made.

    - safetensors: `can.load_encoder(folder)`.
    - timm: `timm.create_model("local-dir:FOLDER")`.
    - transformers: `AutoModel.from_pretrained(folder)`. An encoder without a cls token, as CAN's is, is a
      SiglipVisionModel there: transformers' ViTModel always has one. Features are the mean of `last_hidden_state`.

    Raises ConfigError for an unknown form, and for an encoder that the form cannot hold.
    """
    check_choice("form to export --to", form, FORMS)
    files = {"timm": _timm, "transformers": _transformers, "safetensors": _own}[form](encoder)
    arrays = files.pop("model")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / "model.safetensors")
    for name, content in files.items():
        write_atomic(folder / name, json_of(content))


def native(encoder: ViT) -> Arrays:
    """Every parameter under its path in the module, blocks stacked."""
    _, params = nnx.split(encoder)
    flat = dict(nnx.to_flat_state(params))
    return {".".join(map(str, path)): np.asarray(variable[...]) for path, variable in flat.items()}


def timm_names(encoder: ViT) -> Arrays:
    """The parameters under the names of He et al. and timm, with a table of positions of the patches."""
    own, made = native(encoder), Arrays()
    patch = encoder.config.patch_size
    made["patch_embed.proj.weight"] = own["patch_embed.kernel"].reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)
    made["patch_embed.proj.bias"] = own["patch_embed.bias"]
    made["pos_embed"] = _positions(encoder)[None]
    if "cls_token" in own:
        made["cls_token"] = own["cls_token"].reshape(1, -1, encoder.config.width)

    def add(theirs: str, weight: np.ndarray, bias: np.ndarray) -> None:
        made[f"{theirs}.weight"], made[f"{theirs}.bias"] = weight, bias

    add("norm", own["transformer.norm.scale"], own["transformer.norm.bias"])
    if "pre_norm.scale" in own:
        add("norm_pre", own["pre_norm.scale"], own["pre_norm.bias"])
    layers = {"attn.qkv": "qkv", "attn.proj": "attention_out", "mlp.fc1": "mlp_in", "mlp.fc2": "mlp_out"}
    stacked = {name.removeprefix("transformer.blocks."): value for name, value in own.items() if ".blocks." in name}
    for layer in range(encoder.config.depth):
        block = {name: value[layer] for name, value in stacked.items()}
        for norm in ("norm1", "norm2"):
            add(f"blocks.{layer}.{norm}", block[f"{norm}.scale"], block[f"{norm}.bias"])
        for theirs, ours in layers.items():
            kernel = block[f"{ours}.kernel"]  # mlp_out's is [out, in], as theirs
            add(f"blocks.{layer}.{theirs}", kernel if ours == "mlp_out" else kernel.T, block[f"{ours}.bias"])
    return made


def _own(encoder: ViT) -> dict[str, Any]:
    about = {"kind": type(encoder).__name__, "model": dataclasses.asdict(encoder.config)}
    return {"model": native(encoder), "config.json": {OWN: about}}


def _timm(encoder: ViT) -> dict[str, Any]:
    config, settings = encoder.config, _settings(encoder)
    if settings["eps"] not in (LAYER_NORM_EPS, 1e-5):
        raise ConfigError(
            f"timm's ViT has an epsilon of 1e-6 or 1e-5, not {settings['eps']:g}: export --to=safetensors"
        )
    arrays, prefix = timm_names(encoder), settings["prefix"]
    if prefix > 1:
        arrays["reg_token"] = arrays["cls_token"][:, 1:]
        arrays["cls_token"] = arrays["cls_token"][:, :1]
    pooled_norm = settings["norm"] == "pooled"
    if pooled_norm:
        arrays |= {f"fc_norm.{kind}": arrays.pop(f"norm.{kind}") for kind in ("weight", "bias")}
    arguments = {
        "img_size": config.image_size,
        "patch_size": config.patch_size,
        "embed_dim": config.width,
        "depth": config.depth,
        "num_heads": config.heads,
        "mlp_ratio": config.mlp_dim / config.width,
        "class_token": prefix > 0,
        "reg_tokens": max(prefix - 1, 0),
        "no_embed_class": True,  # positions of what stands before the patches are in those tokens
        "pre_norm": settings["pre_norm"],
        "fc_norm": pooled_norm,
        "global_pool": "token" if settings["pool"] == "cls" else "avg",
    }
    if settings["eps"] == 1e-5:
        arguments["norm_layer"] = "layernorm"
    if activation := _TIMM_ACTIVATIONS[settings["activation"]]:
        arguments["act_layer"] = activation
    pretrained = {
        "tag": "can",
        "custom_load": False,
        "input_size": [3, config.image_size, config.image_size],
        "fixed_input_size": True,
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "mean": list(settings["pixel_mean"]),
        "std": list(settings["pixel_std"]),
        "num_classes": 0,
        "pool_size": None,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }
    about = {
        "architecture": "vit_base_patch16_224",  # the entry point; model_args says what differs
        "num_classes": 0,
        "num_features": config.width,
        "global_pool": arguments["global_pool"],
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    }
    return {"model": arrays, "config.json": about}


def _transformers(encoder: ViT) -> dict[str, Any]:
    config, settings = encoder.config, _settings(encoder)
    if settings["prefix"] > 1 or settings["pre_norm"] or settings["norm"] == "pooled":
        raise ConfigError(
            "transformers has no plain ViT with register tokens, a norm before the blocks or behind the pooling under "
            "one name: export --to=timm or --to=safetensors"
        )
    arrays = timm_names(encoder)
    about = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_dim,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_channels": 3,
        "layer_norm_eps": settings["eps"],
        "hidden_act": _TRANSFORMERS_ACTIVATIONS[settings["activation"]],
        "attention_dropout": 0.0,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "dtype": "float32",
    }
    pixels = {
        "do_resize": True,
        "size": {"height": config.image_size, "width": config.image_size},
        "do_normalize": True,
        "image_mean": list(settings["pixel_mean"]),
        "image_std": list(settings["pixel_std"]),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
    }
    if settings["prefix"]:
        about |= {"model_type": "vit", "architectures": ["ViTModel"], "qkv_bias": True}
        pixels["image_processor_type"] = "ViTImageProcessor"
        return {"model": _vit_names(arrays), "config.json": about, "preprocessor_config.json": pixels}
    about |= {"model_type": "siglip_vision_model", "architectures": ["SiglipVisionModel"], "vision_use_head": False}
    pixels["image_processor_type"] = "SiglipImageProcessor"
    return {"model": _siglip_names(arrays), "config.json": about, "preprocessor_config.json": pixels}


def _vit_names(arrays: Arrays) -> Arrays:
    """Arrays by the names of transformers' ViTModel, as version 4 writes and 5 reads; cls's position is 0."""
    table = arrays["pos_embed"]
    made = {
        "embeddings.cls_token": arrays["cls_token"],
        "embeddings.position_embeddings": np.concatenate([np.zeros_like(table[:, :1]), table], axis=1),
        "embeddings.patch_embeddings.projection.weight": arrays["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": arrays["patch_embed.proj.bias"],
        "layernorm.weight": arrays["norm.weight"],
        "layernorm.bias": arrays["norm.bias"],
    }
    renames = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    return made | _blocks(arrays, "encoder.layer", renames, "attention.attention", ("query", "key", "value"))


def _siglip_names(arrays: Arrays) -> Arrays:
    """The arrays by the names of transformers' SiglipVisionModel."""
    made = {
        "embeddings.patch_embedding.weight": arrays["patch_embed.proj.weight"],
        "embeddings.patch_embedding.bias": arrays["patch_embed.proj.bias"],
        "embeddings.position_embedding.weight": arrays["pos_embed"][0],
        "post_layernorm.weight": arrays["norm.weight"],
        "post_layernorm.bias": arrays["norm.bias"],
    }
    renames = {
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "attn.proj": "self_attn.out_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    made |= _blocks(arrays, "encoder.layers", renames, "self_attn", ("q_proj", "k_proj", "v_proj"))
    return {f"vision_model.{name}": value for name, value in made.items()}


def _blocks(arrays: Arrays, prefix: str, renames: dict[str, str], attention: str, thirds: tuple[str, ...]) -> Arrays:
    """The blocks' weights under other names; queries, keys and values apart."""
    made: Arrays = {}
    for name, value in arrays.items():
        if not name.startswith("blocks."):
            continue
        _, layer, rest = name.split(".", 2)
        module, kind = rest.rsplit(".", 1)
        if module == "attn.qkv":
            for third, part in zip(thirds, np.split(value, 3), strict=True):
                made[f"{prefix}.{layer}.{attention}.{third}.{kind}"] = part
        else:
            made[f"{prefix}.{layer}.{renames.get(module, module)}.{kind}"] = value
    return made


def _positions(encoder: ViT) -> np.ndarray:
    """[T, D], of the patches."""
    if isinstance(encoder, PublicViT):
        return np.asarray(encoder.positions[...])
    return np.asarray(sincos_positions(encoder.config.image_size // encoder.config.patch_size, encoder.config.width))


def _settings(encoder: ViT) -> dict[str, Any]:
    """What tells a public ViT from another; ours has the paper's."""
    if isinstance(encoder, PublicViT):
        config = encoder.config
        names = ("eps", "activation", "pre_norm", "norm", "pool", "pixel_mean", "pixel_std")
        return {name: getattr(config, name) for name in names} | {"prefix": config.prefix_tokens}
    ours = dict(eps=LAYER_NORM_EPS, activation="gelu", pre_norm=False, norm="tokens", pool="mean")
    return ours | dict(pixel_mean=IMAGENET_MEAN, pixel_std=IMAGENET_STD, prefix=int(encoder.config.cls_token))
