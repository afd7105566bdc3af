"""Others' encoders in every naming scheme and float type give the features that they give there, or one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from commands import Commands
from flax import nnx
from safetensors.numpy import save_file

from can.config import ModelConfig
from can.errors import ConfigError
from can.models import ViT
from can.models.positions import sincos_positions
from can.weights.described import Described
from can.weights.files import read_weights
from can.weights.load import encoder_from

SIZE, PATCH, WIDTH, DEPTH, HEADS, HIDDEN = 28, 7, 24, 2, 3, 48
WEIGHTS: dict[str, np.ndarray] = {}  # under He et al.'s names


def _make() -> None:
    rng = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        WEIGHTS[name] = 0.3 * rng.standard_normal(shape).astype(np.float32)

    add("cls_token", 1, 1, WIDTH)
    positions = sincos_positions(SIZE // PATCH, WIDTH)
    WEIGHTS["pos_embed"] = np.concatenate([np.zeros_like(positions[:1]), positions])[None]
    add("patch_embed.proj.weight", WIDTH, 3, PATCH, PATCH)
    add("patch_embed.proj.bias", WIDTH)
    for layer in range(DEPTH):
        for name, out, into in (("attn.qkv", 3 * WIDTH, WIDTH), ("attn.proj", WIDTH, WIDTH)):
            add(f"blocks.{layer}.{name}.weight", out, into)
            add(f"blocks.{layer}.{name}.bias", out)
        for name, out, into in (("mlp.fc1", HIDDEN, WIDTH), ("mlp.fc2", WIDTH, HIDDEN)):
            add(f"blocks.{layer}.{name}.weight", out, into)
            add(f"blocks.{layer}.{name}.bias", out)
        for name in ("norm1", "norm2"):
            add(f"blocks.{layer}.{name}.weight", WIDTH)
            add(f"blocks.{layer}.{name}.bias", WIDTH)
    add("norm.weight", WIDTH)
    add("norm.bias", WIDTH)


_make()


def as_transformers(version: int) -> dict[str, np.ndarray]:
    """The same weights under the names of transformers 4 or 5."""
    blocks = "encoder.layer" if version == 4 else "layers"
    renames = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "blocks": blocks,
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense" if version == 4 else "attention.o_proj",
        "mlp.fc1": "intermediate.dense" if version == 4 else "mlp.fc1",
        "mlp.fc2": "output.dense" if version == 4 else "mlp.fc2",
    }
    found = {}
    for name, value in WEIGHTS.items():
        new = re.sub(r"^norm\.", "layernorm.", name)
        for old, theirs in renames.items():
            new = re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w])|(?<=\.){re.escape(old)}(?![\w])", theirs, new)
        if "attn.qkv" in new:
            parts = ("query", "key", "value") if version == 4 else ("q_proj", "k_proj", "v_proj")
            inner = "attention.attention." if version == 4 else "attention."
            for part, third in zip(parts, np.split(value, 3), strict=True):
                found[new.replace("attn.qkv", f"{inner}{part}")] = third
        else:
            found[new] = value
    return found


def features(encoder: ViT) -> np.ndarray:
    images = np.random.default_rng(1).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)
    return np.asarray(encoder.features(jnp.asarray(images)))


EXPECTED = features(encoder_from(WEIGHTS, Described(heads=HEADS)))
SCHEMES: dict[str, dict[str, Any]] = {
    "he": WEIGHTS,
    "module": {f"module.{name}": value for name, value in WEIGHTS.items()},
    "transformers 4": as_transformers(4),
    "transformers 5": as_transformers(5),
    "transformers 4 inside": {f"vit.{name}": value for name, value in as_transformers(4).items()},
    "transformers 5 inside": {f"vit.{name}": value for name, value in as_transformers(5).items()},
    "with a decoder": WEIGHTS | {"mask_token": np.ones(3, np.float32), "decoder_embed.bias": np.ones(2, np.float32)},
    "with a classifier": WEIGHTS | {"head.weight": np.ones((2, WIDTH), np.float32)},
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_naming_scheme_gives_the_same_features(scheme: str) -> None:
    found = encoder_from(SCHEMES[scheme], Described(heads=HEADS))
    assert (found.config.depth, found.config.image_size, found.config.patch_size) == (DEPTH, SIZE, PATCH)
    np.testing.assert_array_equal(features(found), EXPECTED)


@pytest.mark.parametrize("version", ["float16", "bfloat16", "float64", "torch bfloat16"])
def test_every_float_type_is_taken(version: str) -> None:
    if version == "torch bfloat16":
        torch = pytest.importorskip("torch")
        weights = {name: torch.from_numpy(value).bfloat16() for name, value in WEIGHTS.items()}
    else:
        kind = ml_dtypes.bfloat16 if version == "bfloat16" else np.dtype(version)
        weights = {name: value.astype(kind) for name, value in WEIGHTS.items()}
    tolerance = {"float64": 1e-6, "float16": 2e-2}.get(version, 0.15)
    np.testing.assert_allclose(features(encoder_from(weights, Described(heads=HEADS))), EXPECTED, atol=tolerance)


def test_features_are_those_of_an_independent_vit() -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    config = transformers.ViTConfig(
        image_size=SIZE,
        patch_size=PATCH,
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        layer_norm_eps=1e-6,
    )
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    missing = model.load_state_dict(
        {name: torch.from_numpy(value) for name, value in as_transformers(5).items()}, strict=False
    )
    assert not missing.unexpected_keys and not missing.missing_keys
    images = np.random.default_rng(1).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)
    with torch.no_grad():
        tokens = model(torch.from_numpy(images.transpose(0, 3, 1, 2))).last_hidden_state[:, 1:]
    np.testing.assert_allclose(EXPECTED, tokens.mean(1).numpy(), atol=1e-4)
    np.testing.assert_array_equal(features(encoder_from(model.state_dict(), Described(heads=HEADS))), EXPECTED)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"blocks.1.mlp.fc2.bias": None}, {}, r"lack blocks\.1\.mlp\.fc2\.bias"),
        ({"norm.bias": np.zeros(5, np.float32)}, {}, r"has the shape \(5,\)"),
        ({"blocks.0.attn.q_norm.weight": np.ones(8, np.float32)}, {}, "norms of queries and keys"),
        ({"blocks.0.mlp.w12.weight": np.ones((8, 8), np.float32)}, {}, "SwiGLU layers"),
        ({"layers.0.blocks.0.x": np.ones(8, np.float32)}, {}, "windows and stages"),
        ({"rope.periods": np.ones(8, np.float32)}, {}, "rotary positions"),
        ({"blocks.0.attn.relative_position_bias_table": np.ones(8, np.float32)}, {}, "relative positions"),
        ({"pos_embed": WEIGHTS["pos_embed"][:, :-2]}, {}, "no square of patches"),
        ({"norm.bias": np.full(WIDTH, np.nan, np.float32)}, {}, r"norm\.bias has values that are not finite"),
        ({"norm.bias": np.zeros(WIDTH, np.int32)}, {}, "not of floating-point numbers"),
        ({"cls_token": None, "pos_embed": WEIGHTS["pos_embed"][:, 1:]}, {"pool": "cls"}, "no cls token to pool"),
        ({}, {"heads": None}, "how many attention heads a ViT of width 24 has is not known"),
        ({}, {"heads": 5}, "width 24 is not a multiple of its 5 attention heads"),
    ],
)
def test_what_cannot_be_ours_is_one_line(change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    weights = {name: value for name, value in (WEIGHTS | change).items() if value is not None}
    with pytest.raises(ConfigError, match=message) as error:
        encoder_from(weights, Described(**{"heads": HEADS} | options))
    assert "\n" not in str(error.value)


def test_queries_and_keys_of_different_shapes_are_one_line() -> None:
    weights = dict(SCHEMES["transformers 5"])
    name = next(name for name in weights if re.search(r"0\.attention\.(attention\.query|q_proj)\.weight$", name))
    weights[name] = weights[name][..., :-1]
    with pytest.raises(ConfigError, match="have different shapes"):
        encoder_from(weights, Described(heads=HEADS))


def test_weights_without_any_known_name_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"lack patch_embed\.proj\.weight"):
        encoder_from({"conv1.weight": np.zeros((3, 3), np.float32)})


def test_the_usual_sizes_know_their_heads_and_names() -> None:
    from can.weights.public import encoder_config

    shapes = {"patch_embed.proj.weight": (768, 3, 16, 16), "blocks.0.mlp.fc1.weight": (3072, 768)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    arrays |= {name: np.zeros(3, np.float32) for name in ("patch_embed.proj.bias", "blocks.0.attn.qkv.bias")}
    arrays |= {f"blocks.{layer}.norm1.bias": np.zeros(768, np.float32) for layer in range(12)}
    config = encoder_config(arrays, Described())
    assert isinstance(config, ModelConfig)
    assert (config.size, config.heads, config.depth, config.image_size, config.cls_token) == ("B", 12, 12, 224, False)


def test_files_that_are_no_weights_are_one_line(tmp_path: Path) -> None:
    for name, content in (("a.safetensors", b"x"), ("a.pth", b"x"), ("a.npz", b"x"), ("b.safetensors", b"\xff" * 99)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name) as error:
            read_weights(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="there is no file"):
        read_weights(tmp_path / "gone.safetensors")


def test_a_command_evaluates_such_an_encoder(commands: Commands, tmp_path: Path) -> None:
    """From a folder of transformers, whose own epsilon is not He et al.'s."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_file(
        {name: np.ascontiguousarray(value) for name, value in as_transformers(5).items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": HEADS, "layer_norm_eps": 1e-12}))
    flags = [
        "--scale=smoke",
        f"--results_dir={tmp_path}/results",
        f"--workdir={tmp_path}/work",
        f"--data_dir={tmp_path}",
    ]
    asked = ["experiments/evaluate_weights.py", *flags, f"--weights={folder}", "--name=theirs"]
    done = commands(*asked, "--eps=1e-6")
    assert done.returncode == 0, done.stderr
    assert re.search(r"theirs linear_probe top1 0\.\d+ \(n = 256\)", done.stdout)
    made = (tmp_path / "results/smoke/theirs/eval-linear_probe.json").read_bytes()
    assert commands(*asked, "--eps=1e-6").returncode == 0
    assert (tmp_path / "results/smoke/theirs/eval-linear_probe.json").read_bytes() == made
    changed = {
        name: np.ascontiguousarray(2 * value) if name == "layernorm.bias" else value
        for name, value in as_transformers(5).items()
    }
    save_file({name: np.ascontiguousarray(value) for name, value in changed.items()}, folder / "model.safetensors")
    other = commands(*asked, "--eps=1e-6")
    assert other.returncode == 1 and "is of other weights than" in other.stderr


def test_the_graph_of_a_loaded_encoder_is_that_of_ours() -> None:
    found = encoder_from(WEIGHTS, Described(heads=HEADS))
    ours = ViT(found.config, rngs=nnx.Rngs(0))
    assert nnx.split(found)[0] == nnx.split(ours)[0]
