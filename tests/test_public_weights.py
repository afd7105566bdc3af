"""Public encoders of timm and transformers, small and with random weights, give the features that they give there."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.torch import save_file

from can.augment import IMAGENET_MEAN, IMAGENET_STD, eval_view
from can.errors import ConfigError
from can.models import PublicViT
from can.weights.described import Described
from can.weights.files import read_weights
from can.weights.load import encoder_from

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZE, PATCH, WIDTH, DEPTH, HEADS, HIDDEN = 28, 7, 24, 2, 3, 48
IMAGES = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
HALF = (0.5, 0.5, 0.5)


def pixels(mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD) -> Any:
    """The images as theirs want them: [B, 3, H, W]."""
    normal = (IMAGES / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(normal.transpose(0, 3, 1, 2)).float()


def randomised(model: Any) -> Any:
    """Its parameters drawn anew, so that no bias, scale or position is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def ours(model: Any, described: Described) -> tuple[Any, np.ndarray]:
    """Our encoder with the model's weights, and its features of the images as evaluations ask for them."""
    encoder = encoder_from(model.state_dict(), described.but(heads=HEADS))
    return encoder, np.asarray(encoder.features(eval_view(jnp.asarray(IMAGES))))


class _Missing(type):
    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Torchvision(types.ModuleType):
    """timm imports torchvision for its transforms, which no test uses and which does not work beside our torch."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        is_torchvision = name.partition(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_torchvision else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Torchvision(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@pytest.fixture(scope="module")
def timm_vit() -> Iterator[Callable[..., Any]]:
    """Makes a small `VisionTransformer` of timm."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        from timm.models.vision_transformer import VisionTransformer
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]

    def make(**options: Any) -> Any:
        sizes = dict(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2)
        return randomised(VisionTransformer(**sizes, num_classes=5, **options))

    yield make


TIMM = {
    "ViT, DeiT, DINO, MoCo-v3": (dict(), Described(pool="cls")),
    "of the mean": (dict(global_pool="avg", fc_norm=False), Described(pool="mean")),
    "norm behind the pooling": (dict(global_pool="avg"), Described(pool="mean")),
    "DINOv2": (dict(init_values=1e-5), Described(pool="cls")),
    "DINOv2 with registers": (dict(init_values=1e-5, reg_tokens=4, no_embed_class=True), Described(pool="cls")),
    "without biases": (dict(qkv_bias=False), Described(pool="cls")),
    "CLIP": (
        dict(pre_norm=True, act_layer="quick_gelu", norm_layer="layernorm"),
        Described(pool="cls", eps=1e-5, activation="quick_gelu"),
    ),
    "without a cls token": (dict(class_token=False, global_pool="avg", fc_norm=False), Described(pool="mean")),
}


@pytest.mark.parametrize("kind", TIMM)
def test_features_are_timms(kind: str, timm_vit: Callable[..., Any]) -> None:
    options, described = TIMM[kind]
    model = timm_vit(**options)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(pixels()), pre_logits=True).numpy()
    encoder, found = ours(model, described)
    assert isinstance(encoder, PublicViT)
    np.testing.assert_allclose(found, expected, atol=1e-4)


COMMON = dict(image_size=SIZE, patch_size=PATCH, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS)
MLP = dict(intermediate_size=HIDDEN)
TRANSFORMERS = {  # the class, its configuration, and which token its features are
    "ViTModel": ("ViTConfig", MLP, 0),
    "DeiTModel": ("DeiTConfig", MLP, 0),
    "ViTMSNModel": ("ViTMSNConfig", MLP, 0),
    "Dinov2Model": ("Dinov2Config", dict(mlp_ratio=2), 0),
    "Dinov2WithRegistersModel": ("Dinov2WithRegistersConfig", dict(mlp_ratio=2, num_register_tokens=4), 0),
    "CLIPVisionModel": ("CLIPVisionConfig", MLP, 0),
    "SiglipVisionModel": ("SiglipVisionConfig", MLP, None),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_features_are_transformers_and_its_folder_says_how(name: str, tmp_path: Path) -> None:
    """From a folder as `save_pretrained` leaves it, with its own pixels: no flag is needed."""
    config_name, options, token = TRANSFORMERS[name]
    config = getattr(transformers, config_name)(**COMMON, **options)
    model = randomised(getattr(transformers, name)(config))
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": HALF, "image_std": HALF}))
    with torch.no_grad():
        tokens = model(pixels(HALF, HALF)).last_hidden_state
        if name == "CLIPVisionModel":  # transformers norms the pooled token alone
            tower = getattr(model, "vision_model", model)
            tokens = tower.post_layernorm(tokens)
    expected = (tokens.mean(1) if token is None else tokens[:, token]).numpy()
    weights, described = read_weights(tmp_path)
    encoder = encoder_from(weights, described)
    assert encoder.image_size == SIZE
    np.testing.assert_allclose(np.asarray(encoder.features(eval_view(jnp.asarray(IMAGES)))), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_files_of_half_precision_keep_their_positions(kind: str, tmp_path: Path) -> None:
    model = randomised(transformers.ViTModel(transformers.ViTConfig(**COMMON, **MLP))).to(getattr(torch, kind))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    weights, described = read_weights(tmp_path / "model.safetensors")
    found = encoder_from(weights, described.but(heads=HEADS, pool="cls"))
    positions = model.state_dict()["embeddings.position_embeddings"].float().numpy()[0]
    np.testing.assert_array_equal(np.asarray(found.positions[...]), positions[1:])


def test_other_sizes_stretch_the_positions_as_timm_does(timm_vit: Callable[..., Any]) -> None:
    from timm.layers.pos_embed import resample_abs_pos_embed

    model = timm_vit()
    encoder, _ = ours(model, Described(pool="cls"))
    expected = resample_abs_pos_embed(model.pos_embed, [6, 6])[0, 1:].detach().numpy()
    np.testing.assert_allclose(np.asarray(encoder.at_size(6 * PATCH)._positions()), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "swin"}, "is a swin: only plain ViTs"),
        ({"model_type": "dinov2", "use_swiglu_ffn": True}, "SwiGLU"),
        ({"model_type": "vit", "hidden_act": "relu"}, "hidden_act"),
    ],
)
def test_what_config_says_that_cannot_be_loaded_is_one_line(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"norm.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=message) as error:
        read_weights(tmp_path)
    assert "\n" not in str(error.value)


def test_timms_config_says_heads_pixels_and_pooling(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "architecture": "vit_small_patch14_reg4_dinov2",
                "global_pool": "token",
                "pretrained_cfg": {"mean": HALF, "std": HALF, "input_size": [3, 518, 518]},
            }
        )
    )
    save_file({"norm.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    _, described = read_weights(tmp_path)
    assert described == Described(pool="cls", image_size=518, pixel_mean=HALF, pixel_std=HALF)
