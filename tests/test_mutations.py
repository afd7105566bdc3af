"""Inputs that were mutated at random, from images to results, are read rightly or refused in one line.

`CAN_MUTATIONS=2000` is the long form, so many of them over all kinds; without it there are a few of each kind.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invented import add, published, setting, spec
from PIL import Image

from analysis.lib.results import read
from can import training_step
from can.commands.spec import Need
from can.data.decode import decode_rgb
from can.data.formats.folder import open_folder
from can.data.formats.tfds_records import read_tfds
from can.errors import DataError, UserError
from can.runs import Evaluated
from can.runs.config_file import config_of, read_config
from can.system.files import read_json
from can.weights.described import Described
from can.weights.load import encoder_from

KINDS = 7
EXAMPLES = int(os.environ.get("CAN_MUTATIONS", 0)) // KINDS
SEED = st.integers(0, 2**32 - 1)


def mutated(few: int) -> Callable[[Any], Any]:
    """Runs a test with that many seeds, or its share of the long form."""
    health = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return lambda test: settings(max_examples=EXAMPLES or few, suppress_health_check=health)(given(seed=SEED)(test))


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, cut out, doubled, put in or replaced."""
    value = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 3))):
        place = rng.randrange(len(value) + 1)
        length = rng.choice((1, 1, 4, 100))
        match rng.randrange(6):
            case 0:
                value[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del value[place:]
            case 2:
                del value[place : place + length]
            case 3:
                value[place:place] = value[place : place + length]
            case 4:
                value[place:place] = rng.randbytes(length)
            case 5:
                value[place : place + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(value)


def one_line(error: Exception, *names: str) -> None:
    """The error is ours, of one line, and names what it is about."""
    assert isinstance(error, UserError), repr(error)
    assert "\n" not in str(error), error
    assert not names or any(name in str(error) for name in names), error


def image_files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 40)[None, :, None] + np.zeros((30, 1, 3))
    photo = Image.fromarray((ramp + rng.integers(0, 20, (30, 40, 3))).astype(np.uint8))
    forms = {
        "jpeg": ("JPEG", photo, {}),
        "progressive": ("JPEG", photo, {"progressive": True}),
        "cmyk": ("JPEG", photo.convert("CMYK"), {}),
        "png": ("PNG", photo, {}),
        "palette": ("PNG", photo.convert("P"), {}),
        "gif": ("GIF", photo, {}),
        "tiff": ("TIFF", photo, {}),
        "bmp": ("BMP", photo, {}),
        "webp": ("WEBP", photo, {}),
    }
    found = {}
    for name, (kind, image, options) in forms.items():
        file = io.BytesIO()
        image.save(file, kind, **options)
        found[name] = file.getvalue()
    return found


IMAGES = image_files()
PIXELS = {name: decode_rgb(content, name) for name, content in IMAGES.items()}
CHECKED = ("png", "palette")  # whose content has checksums: what is read is what was written


@mutated(150)
def test_images(seed: int) -> None:
    rng = random.Random(seed)
    name = rng.choice(list(IMAGES))
    content = damaged(IMAGES[name], rng)
    try:
        pixels = decode_rgb(content, "cat.xyz")
    except UserError as error:
        one_line(error, "cat.xyz")
        return
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    if name in CHECKED and pixels.shape == PIXELS[name].shape and content[:60] == IMAGES[name][:60]:
        np.testing.assert_array_equal(pixels, PIXELS[name])


@pytest.fixture(scope="module")
def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("a/0.png", "png"), ("a/1.jpg", "jpeg"), ("b/2.png", "palette"), ("b/notes.txt", "bmp")):
            archive.writestr(name, IMAGES[content])
    return file.getvalue()


@mutated(60)
def test_archives(archive: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """What comes out of a member is what went in: archives have checksums."""
    path = tmp_path_factory.getbasetemp() / "mutated.zip"
    path.write_bytes(damaged(archive, random.Random(seed)))
    try:
        images = open_folder("folder:mutated", path, path.parent)["train"]
        found = [images[index][0] for index in range(len(images))]
    except UserError as error:
        one_line(error, "mutated.zip")
        return
    assert set(found) <= set(IMAGES.values()) | {b""}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set in TFDS's format."""
    from can.recipes.make_imagenet import make_imagenet

    root = tmp_path_factory.mktemp("records")
    for index in range(6):
        path = root / "photos" / "ab"[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(IMAGES["jpeg"])
    make_imagenet(root / "photos", root / "data", validation_every=3)
    return root / "data"


@mutated(25)
def test_records(records: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    root = tmp_path_factory.getbasetemp() / "mutated records"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(records, root)
    path = rng.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    if rng.random() < 0.2:
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), rng))
    try:
        for images in read_tfds("imagenet2012", root).values():
            for index in range(len(images)):
                image, label = images[index]
                assert image == IMAGES["jpeg"] or path.suffix == ".json" or "array_record" in path.name
                assert label is None or 0 <= label < 1000
    except UserError as error:
        one_line(error)


FLAGS = (
    *("width", "depth", "heads", "mlp_dim", "decoder_width", "decoder_depth", "head_depth", "head_out", "patch_size"),
    *("image_size", "scan_unroll", "temperature", "lambda_infonce", "sigma_max", "mask_rate", "crop_area_min"),
    *("crop_area_max", "color_strength", "blur_prob", "rand_augment_layers", "base_lr", "weight_decay", "batch_size"),
    *("total_steps", "warmup_steps", "warmup_epochs", "beta1", "beta2", "clip_norm", "max_steps", "accumulate"),
    *("epochs", "seed", "checkpoint_every", "log_every", "workers", "fsdp", "probe_base_lr", "probe_epochs"),
    *("probe_batch_size", "probe_momentum", "finetune_beta2", "finetune_epochs", "finetune_drop_path"),
    *("finetune_mixup", "few_shot_shots", "few_shot_choices", "few_shot_l2", "few_shot_steps", "dtype", "remat"),
    *("mask_token", "infonce_reduction", "augmentation", "name", "model", "data", "scale", "method", "force"),
    *("results_dir", "workdir", "train_split", "real_shifts", "norm_pix", "cls_token"),
)
VALUES = (
    *("0", "-1", "1", "2", "3", "0.5", "1.5", "-0.5", "nan", "inf", "-inf", "1e308", "1e-308", "99999", "10000000000"),
    *(
        "",
        " ",
        ",",
        "1,2",
        "true",
        "no",
        "x",
        "x/y",
        "~nobody/x",
        "a\nb",
        "é",
        "9" * 400,
        "0x10",
        "train[:0]",
        "[",
        "-",
    ),
)


@mutated(120)
def test_flags(commands: Commands, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """What `--print_config` accepts can be built, and nothing is written."""
    rng = random.Random(seed)
    folder = tmp_path_factory.getbasetemp() / "flags"
    base = {"scale": "smoke", "results_dir": f"{folder}/r", "workdir": f"{folder}/w", "data_dir": f"{folder}/d"}
    given_flags = base | {name: rng.choice(VALUES) for name in rng.sample(FLAGS, rng.choice((1, 1, 2)))}
    done = commands(
        "experiments/pretrain.py", *(f"--{name}={value}" for name, value in given_flags.items()), "--print_config"
    )
    assert "Traceback" not in done.stderr, (given_flags, done.stderr)
    assert not folder.exists()
    if done.returncode:
        assert done.stderr.startswith("error: ") and not done.stdout, (given_flags, done)
        return
    values = json.loads(done.stdout)
    config = config_of(
        {name: values[name] for name in ("scale", "epochs", "seed", "model", "method", "augment", "data", "optim")}
    )
    if max(config.model.width, config.model.mlp_dim, config.model.head_out) > 5000 or config.model.depth > 100:
        return  # takes more memory than a test should
    try:
        training_step.abstract_state(config, num_classes=2)
    except UserError as error:
        one_line(error)


ROW = "can/vit_l/800"


@pytest.fixture(scope="module")
def result_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    here = setting(root)
    correct = np.arange(10_000) % 5 > 0
    for seed in range(2):
        add(here, ROW, seed, top1=80, correct=correct)
        add(published(here), ROW, seed, top1=80, correct=correct)
    return root


def edited(value: Any, rng: random.Random) -> Any:
    """JSON with one value changed, taken away or put in."""
    value = copy.deepcopy(value)
    odd = [None, True, -1, 0, 2, 1e308, 0.5, "", "x", [], {}, "9" * 50, 10**400 if rng.random() < 0.1 else 7]
    place = value
    while True:
        if not isinstance(place, dict | list) or not place:
            return rng.choice(odd)
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        match rng.randrange(3):
            case 0:
                place[key] = rng.choice(odd)
            case 1:
                del place[key]
            case 2 if isinstance(place, list):
                place.append(copy.deepcopy(place[key]))
            case 2:
                place[f"{key}_"] = place[key]
        return value


@mutated(80)
def test_results(result_files: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """A table has the numbers that were measured, or fewer and says so, or there is one line."""
    rng = random.Random(seed)
    root = tmp_path_factory.getbasetemp() / "mutated results"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(result_files, root)
    here = setting(root)
    files = sorted(path for path in (root / "results").rglob("*.json"))
    path = rng.choice(files)
    match rng.randrange(4):
        case 0:
            path.write_bytes(damaged(path.read_bytes(), rng))
        case 1:
            path.unlink()
            path.mkdir()
        case 2:
            shutil.copytree(path.parent, path.parent.with_name(path.parent.name[:-1] + str(rng.randrange(3, 9))))
        case 3:
            path.write_text(json.dumps(edited(read_json(path), rng)))
    try:
        found = read((Need(spec(ROW)),), here)
    except UserError as error:
        one_line(error, "json", "results")
        return
    values = found.records[found.records["metric"] == "top1"]
    assert set(values["value"]) <= {0.8} and set(values["n"]) <= {10_000}
    assert len(values) == 4 or found.left_out or path.name == "config.json"
    for evaluation in root.rglob("eval-*.json"):
        try:
            assert Evaluated.read(evaluation).records
        except DataError as error:
            one_line(error)
    for configuration in root.rglob("config.json"):
        try:
            assert dataclasses.is_dataclass(read_config(configuration))
        except UserError as error:
            one_line(error)


@mutated(25)
def test_weights(seed: int) -> None:
    from test_foreign_weights import EXPECTED, HEADS, SCHEMES, SIZE, features

    rng = random.Random(seed)
    weights = dict(SCHEMES[rng.choice(list(SCHEMES))])
    name = rng.choice(list(weights))
    match rng.randrange(4):
        case 0:
            del weights[name]
        case 1:
            weights[name] = weights[name][..., :-1]
        case 2:
            weights[rng.choice(("x", "blocks.0.attn.q_norm.weight", "blocks.99.norm1.weight"))] = weights[name]
        case 3:
            weights[name] = weights[name].astype(rng.choice((np.int64, bool, np.float16, np.float64, object)))
    try:
        found = encoder_from(
            weights, Described(heads=HEADS, image_size=SIZE)
        )  # weights without positions do not tell it
    except UserError as error:
        one_line(error)
        return
    np.testing.assert_allclose(features(found), EXPECTED, atol=0.05)
