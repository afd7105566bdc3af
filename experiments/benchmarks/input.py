"""Photos a second and core, ours against Pillow's: `python experiments/benchmarks/input.py --folder=PHOTOS.zip`.

Two random-resized crops of 224 pixels of each JPEG, in one thread, the pipelines taking turns over the same photos in
one run. Pillow's are torchvision's RandomResizedCrop: a full decoding, for both views or for each, then crop, bicubic
resize and flip. Ours flips on the device, inside the training step. Rows go to
`results/input.csv`. Under a minute.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from absl import flags
from PIL import Image

from can import data
from can.commands import cli
from can.commands.folder_flags import define_folder
from can.data.crops import random_resized_crops, sample_box
from experiments.benchmarks import measurement
from experiments.benchmarks.measurement import Measurement
from experiments.benchmarks.photos import load_photos

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE, VIEWS, AREA = 224, 2, (0.08, 1.0)
Pipeline = Callable[[bytes, np.random.Generator], object]


def ours(photo: bytes, rng: np.random.Generator) -> object:
    """What the training loop's workers do with a photo."""
    return random_resized_crops(photo, "photo", VIEWS, SIZE, AREA, rng)


def pillow(photo: bytes, rng: np.random.Generator) -> object:
    """Both views of one decoding."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    return [_pillow_view(image, rng) for _ in range(VIEWS)]


def pillow_twice(photo: bytes, rng: np.random.Generator) -> object:
    """A decoding for each view."""
    return [_pillow_view(Image.open(io.BytesIO(photo)).convert("RGB"), rng) for _ in range(VIEWS)]


def _pillow_view(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    box = sample_box(image.height, image.width, AREA, rng)
    view = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    view = view.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else view)


PIPELINES: dict[str, Pipeline] = {"ours": ours, "pillow": pillow, "pillow_twice": pillow_twice}


def photos_per_second(pipeline: Pipeline, photos: list[bytes], seed: int) -> float:
    """One pass over all photos."""
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    for photo in photos:
        pipeline(photo, rng)
    return len(photos) / (time.perf_counter() - start)


def rates_over_rounds(rates: dict[str, list[float]], photos: int) -> list[Measurement]:
    """Each pipeline's median and extremes, and the median of how many times as fast ours was in each round."""
    return [
        dict(
            pipeline=name,
            photos=photos,
            rounds=len(found),
            photos_per_second=statistics.median(found),
            lowest=min(found),
            highest=max(found),
            ours_is_faster=statistics.median(a / b for a, b in zip(rates["ours"], found, strict=True)),
        )
        for name, found in rates.items()
    ]


def main() -> None:
    """Times the pipelines in turns."""
    values = flags.FLAGS
    images = load_photos(values.folder, values.data_dir)
    cv2.setNumThreads(1)
    photos = [images[index][0] for index in range(len(images))]
    rates: dict[str, list[float]] = {name: [] for name in PIPELINES}
    for seed in range(values.rounds):
        for name, pipeline in PIPELINES.items():
            rates[name].append(photos_per_second(pipeline, photos, seed))
    found = rates_over_rounds(rates, len(photos))
    for one in found:
        rate, ratio = one["photos_per_second"], one["ours_is_faster"]
        print(f"{one['pipeline']}: {rate:.0f} photos/s, ours is {ratio:.2f} times as fast")
    path = Path(values.results_dir) / "input.csv"
    measurement.save(path, [one | measurement.circumstances() for one in found], ("pipeline",))
    print(measurement.told(path))


if __name__ == "__main__":
    flags.DEFINE_string("folder", None, "a folder or .zip file of photos", required=True)
    flags.DEFINE_integer("rounds", 7, "passes of each pipeline over the photos", lower_bound=1)
    define_folder("data_dir", str(data.DEFAULT_DATA_DIR), "where data sets are kept")
    define_folder("results_dir", str(REPOSITORY / "results"), "where input.csv goes")
    cli.run(main)
