"""Pictures of what a run makes of images: `can show --name=RUN --images=SET --out=FILE.png`.

Each image, what the encoder sees of it, what the decoder fills in, the noise that is predicted: what the method has.
`--attention`: where the last block looks. `--neighbours`: which images are alike. `--map`: all in two dimensions.
These three take `--weights=FILE`, too: a folder of `can export`, or public weights of a plain ViT.
`--step=500` shows a checkpoint that is kept, also while the run is trained.
SET is what `--labelled` takes; without it, the scale's test images. FILE ends in .png, .pdf, .svg or .jpg.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags
from jaxtyping import UInt8

from can import data, load_encoder, trained
from can.commands import flags as setting_flags
from can.commands.own_config import run_to_read
from can.commands.setting import Run, Setting
from can.data import ImageSet, eval_batches
from can.errors import ConfigError
from can.evals.encoder import Encoder
from can.evals.feature_files import feature_parts
from can.show import drawing
from can.show.attention import attention_of
from can.show.made import made_of
from can.show.neighbours import nearest

KINDS = ("attention", "neighbours", "map")
COUNTS = {"": 8, "attention": 8, "neighbours": 2000, "map": 2000}  # images, by kind
COUNT_HELP = "images, the first ones; default: 8, and of --neighbours and --map 2000"
SMALLEST = {"neighbours": 2, "map": 5}
ASKED, NEIGHBOURS = 8, 8  # rows and columns of neighbours


def define_flags() -> None:
    """Defines the command's flags."""
    setting_flags.define_run_flags()
    flags.DEFINE_string("images", None, "a set's name, a TFDS name or folder:PATH; default: the scale's test images")
    flags.DEFINE_string("split", "train", "of --images")
    flags.DEFINE_string("weights", None, "folder of can export, or public weights; default: the run that flags name")
    flags.DEFINE_integer("step", None, "whose checkpoint is shown; default: the last one", lower_bound=0)
    flags.DEFINE_string("out", None, "the file: NAME.png, .pdf, .svg or .jpg", required=True)
    flags.DEFINE_bool("attention", False, "where the last block looks, head by head")
    flags.DEFINE_bool("neighbours", False, "the nearest images of the first ones, among --count")
    flags.DEFINE_bool("map", False, "--count images in two dimensions, by t-SNE, coloured by class")
    flags.DEFINE_integer("count", None, COUNT_HELP, lower_bound=1)


def main() -> None:
    """Draws what the flags ask for."""
    values = flags.FLAGS
    out, setting = Path(values.out).expanduser(), setting_flags.setting()
    drawing.check_path(out)
    asked = [kind for kind in KINDS if values[kind].value]
    if len(asked) > 1:
        raise ConfigError(f"--{' and --'.join(asked)} are a picture each: pass one of them")
    kind = asked[0] if asked else ""
    if values.weights and not kind:
        raise ConfigError("--weights are an encoder's alone: pass --attention, --neighbours or --map")
    run = None if values.weights else run_to_read(setting)
    step = "" if values.step is None else f" step {values.step}"
    if step:
        if run is None:
            raise ConfigError("--weights have no steps: leave --step out")
        run = run._replace(folder=run.folder.at(values.step))
    images = _images(setting, values.count or COUNTS[kind])
    whose = Path(values.weights).name if run is None else run.folder.name
    heading = f"{whose}{step} · {images.name} {images.split}"
    if run is not None and not kind:
        _draw_made(out, run, images, heading)
    else:
        _draw_encoded(kind, out, _encoder(run), images, heading)
    print(f"{out}: {len(images)} images")


def _draw_made(out: Path, run: Run, images: ImageSet, heading: str) -> None:
    method = trained.load_method(run.config, run.folder, num_classes=images.num_classes or 2)
    drawing.draw_columns(out, made_of(method, _pixels(images, method.config.image_size)), heading=heading)


def _draw_encoded(kind: str, out: Path, encoder: Encoder, images: ImageSet, heading: str) -> None:
    if kind == "attention":
        pixels = _pixels(images, encoder.image_size)
        heading = f"{heading} · last block's attention: bright patches get most of it"
        drawing.draw_attention(out, pixels, attention_of(encoder, pixels), heading=heading)
        return
    if len(images) < SMALLEST[kind]:
        raise ConfigError(f"{len(images)} images are too few for --{kind}: pass more --images, or a larger --count")
    parts = list(feature_parts(encoder, images))
    features = np.concatenate([part.features for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    names = images.class_names or [str(label) for label in range(images.num_classes or 0)]
    if kind == "neighbours":
        found = nearest(features, min(ASKED, len(images)), min(NEIGHBOURS, len(images) - 1))
        places = sorted({*range(len(found.places)), *found.places.ravel().tolist()})
        chosen = images.take("chosen", [(place, place + 1) for place in places])
        drawn = dict(zip(places, _pixels(chosen, encoder.image_size), strict=True))
        of_images = [names[label] for label in labels] if images.num_classes else None
        drawing.draw_neighbours(out, drawn, found, of_images, heading=f"{heading} · cosine of features")
        return
    from can.show.plane import in_plane  # scikit-learn takes a second

    points = in_plane(features)
    drawing.draw_map(out, points, labels if images.num_classes else None, names, heading=f"{heading} · t-SNE")


def _encoder(run: Run | None) -> Encoder:
    """The run's, or the one of --weights."""
    if run is None:
        return load_encoder(flags.FLAGS.weights)
    return Encoder.from_model(trained.load_encoder(run.config, run.folder))


def _images(setting: Setting, count: int) -> ImageSet:
    values = flags.FLAGS
    name, split = (values.images, values.split) if values.images else (setting.labelled, setting.scale.test_split)
    images = data.load(name, split, data_dir=setting.data_dir)
    return images if count >= len(images) else images.take(f"{split}, first {count}", [(0, count)])


def _pixels(images: ImageSet, size: int) -> UInt8[np.ndarray, "n size size 3"]:
    return np.concatenate([batch["image"] for batch in eval_batches(images, batch_size=256, image_size=size)])
