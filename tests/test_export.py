"""An encoder goes out in each form and comes back with equal features; features of images go to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Commands
from flax import nnx
from PIL import Image
from test_public_weights import ours, randomised, timm_vit  # noqa: F401  a fixture

import can
from can.config import ModelConfig
from can.data import load
from can.errors import ConfigError
from can.evals.encoder import Encoder, extract_features
from can.evals.feature_files import write_features
from can.models import PublicViT, PublicViTConfig, ViT, encoder_of
from can.weights.export import FORMS, export
from can.weights.others import features_of

SIZES = dict(size="test", image_size=28, patch_size=7, width=24, depth=2, heads=3, mlp_dim=48)
IMAGES = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 3), np.uint8)
PUBLIC = dict(prefix_tokens=1, pool="mean", pixel_mean=(0.5, 0.4, 0.3), pixel_std=(0.2, 0.3, 0.4))
CONFIGS = {
    "ours": ModelConfig(**SIZES),
    "with a cls token": ModelConfig(**SIZES, cls_token=True),
    "public": PublicViTConfig(**SIZES, cls_token=True, activation="quick_gelu", eps=1e-5, **PUBLIC),
}


def encoder(kind: str) -> ViT:
    made = encoder_of(CONFIGS[kind], rngs=nnx.Rngs(3))
    _, params = nnx.split(made)
    rng = np.random.default_rng(0)
    for _, variable in nnx.to_flat_state(params):
        variable[...] = 0.3 * rng.normal(size=variable.shape).astype(np.float32)
    nnx.update(made, params)
    return made


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_exported_comes_back_with_equal_features(kind: str, form: str, tmp_path: Path) -> None:
    model = encoder(kind)
    export(model, form, tmp_path / "out")
    expected = np.asarray(Encoder.from_model(model)(IMAGES))
    again = can.load_encoder(str(tmp_path / "out"))
    if form == "transformers" and kind != "ours":
        pytest.skip("transformers' ViT says that its features are the cls token's; the next test compares tokens")
    np.testing.assert_allclose(np.asarray(again(IMAGES)), expected, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("form", ["timm", "transformers"])
def test_the_library_itself_gives_our_features(kind: str, form: str, tmp_path: Path, timm_vit: object) -> None:  # noqa: F811
    model = encoder(kind)
    export(model, form, tmp_path / "out")
    found, by = features_of(tmp_path / "out", form, IMAGES)
    assert by.startswith(form)
    np.testing.assert_allclose(found, np.asarray(Encoder.from_model(model)(IMAGES)), atol=1e-4)


def test_registers_go_to_timm_and_not_to_transformers(tmp_path: Path) -> None:
    config = PublicViTConfig(**SIZES, cls_token=True, **PUBLIC | dict(prefix_tokens=5, pool="cls"))
    model = PublicViT(config, rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match="--to=timm"):
        export(model, "transformers", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    export(model, "timm", tmp_path / "out")
    expected = np.asarray(Encoder.from_model(model)(IMAGES))
    np.testing.assert_allclose(np.asarray(can.load_encoder(str(tmp_path / "out"))(IMAGES)), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [".npz", ".parquet"])
def test_features_are_written_for_every_image(kind: str, tmp_path: Path) -> None:
    if kind == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    images = load("smoke", "test[:70]", data_dir=tmp_path)
    frozen = Encoder.from_model(encoder("ours"), batch_size=32)  # two whole batches and a part
    assert write_features(frozen, images, tmp_path / f"f{kind}") == 70
    if kind == ".npz":
        with np.load(tmp_path / "f.npz") as made:
            features, labels, files = made["features"], made["label"], made["file"]
    else:
        table = parquet.read_table(tmp_path / "f.parquet").to_pydict()
        features, labels, files = np.array(table["feature"]), np.array(table["label"]), table["file"]
    expected, _ = extract_features(frozen, images)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, images.labels)
    assert len(set(files)) == 70
    assert [path.name for path in tmp_path.glob("*unfinished*")] == []


def test_commands_export_a_run_write_features_with_it_and_show_it(commands: Commands, tmp_path: Path) -> None:
    run = ["--scale=smoke", "--method=mae", "--model=nano", "--total_steps=1", "--warmup_steps=0"]
    run += [f"--results_dir={tmp_path}/r", f"--workdir={tmp_path}/w", f"--data_dir={tmp_path}"]
    assert commands("experiments/pretrain.py", *run).returncode == 0
    out = tmp_path / "out"
    done = commands("experiments/export.py", *run, "--to=safetensors", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert "largest difference to our features 0.0e+00, read by can.load_encoder" in done.stdout
    assert "mae-nano" in (out / "README.md").read_text(encoding="utf-8")
    again = commands("experiments/export.py", *run, f"--out={out}")
    assert again.returncode == 1 and "is not empty" in again.stderr
    asked = ["experiments/features.py", f"--data_dir={tmp_path}", "--scale=smoke", "--images=smoke", "--split=test"]
    made = commands(*asked, f"--from={out}", f"--out={tmp_path}/f.npz")
    assert made.returncode == 0, made.stderr
    assert "256 images, 96 features each" in made.stdout
    refused = commands(*asked, f"--from={out}", f"--out={tmp_path}/f.csv")
    assert refused.returncode == 1 and "must end in .npz or .parquet" in refused.stderr
    weights = ["--scale=smoke", f"--data_dir={tmp_path}", f"--weights={out}"]
    (name,) = (path.name for path in (tmp_path / "r" / "smoke").iterdir())
    named = ["--scale=smoke", *run[-3:], f"--name={name}"]
    shown = {"grid": named, "attention": weights, "neighbours": weights, "map": weights}
    for kind, flags in shown.items():
        chosen = [] if kind == "grid" else [f"--{kind}"]
        done = commands("experiments/show.py", *flags, *chosen, "--count=12", f"--out={tmp_path}/{kind}.png")
        assert (done.returncode, done.stdout) == (0, f"{tmp_path}/{kind}.png: 12 images\n"), done.stderr
        with Image.open(tmp_path / f"{kind}.png") as picture:
            assert min(picture.size) > 300 and len(picture.convert("RGB").getcolors(1 << 24) or []) > 50
    for flags, why in (
        ([*weights, "--out=x.png"], "--weights are an encoder's alone"),
        ([*weights, "--map", "--count=3", "--out=x.png"], "3 images are too few for --map"),
        ([*run, "--out=x.gif"], "must end in one of .png"),
        ([*run, "--map", "--attention", "--out=x.png"], "are a picture each"),
    ):
        refused = commands("experiments/show.py", *flags)
        assert refused.returncode == 1 and why in refused.stderr
